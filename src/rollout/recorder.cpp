#include "rollout/recorder.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>
#include <cstring>

#include "rft/core/error.h"
#include "rft/core/extra.h"

namespace rft {

Recorder::Recorder(int64_t rows, int64_t steps, const EnvironmentSpec& spec, const Acting& what, bool looks_back)
    : rows_(rows), steps_(steps), width_(spec.observation), what_(what), looks_back_(looks_back) {
  observation_ = at::zeros({rows, steps, width_}, at::kFloat);
  logp_ = at::zeros({rows, steps}, at::kFloat), reward_ = at::zeros({rows, steps}, at::kFloat);
  mask_ = at::zeros({rows, steps}, at::kBool), last_ = at::zeros({rows, steps}, at::kBool);
  dropped_ = at::zeros({rows}, at::kBool);
  if (what.transitions) {
    next_observation_ = at::zeros({rows, steps, width_}, at::kFloat);
    terminated_ = at::zeros({rows, steps}, at::kBool);
  }
  if (what.each_step) {
    step_observation_ = at::zeros({rows, steps, spec.chunk, width_}, at::kDouble);
    step_reward_ = at::zeros({rows, steps, spec.chunk}, at::kDouble);
  }
}

void Recorder::decisions(const Decisions& decisions, const Tensor& raw, const Tensor& memory,
                         const std::vector<RecordPlace>& places) {
  auto bytes_of_row = [](const Tensor& x) { return x.numel() / x.size(0) * static_cast<int64_t>(x.element_size()); };
  auto copy_row = [&](const Tensor& into, int64_t to, const Tensor& from, size_t i) {
    int64_t bytes = bytes_of_row(from);
    std::memcpy(static_cast<char*>(into.mutable_data_ptr()) + to * bytes,
                static_cast<const char*>(from.const_data_ptr()) + static_cast<int64_t>(i) * bytes,
                static_cast<size_t>(bytes));
  };
  auto put = [&](Tensor& into, const Tensor& from) {
    if (!from.defined()) return;
    if (!into.defined()) {
      auto shape = from.sizes().vec();
      shape[0] = steps_, shape.insert(shape.begin(), rows_);
      into = at::zeros(shape, from.options());
    }
    Tensor source = from.contiguous();
    for (size_t i = 0; i < places.size(); ++i) copy_row(into, places[i].row * steps_ + places[i].step, source, i);
  };
  put(observation_, decisions.observation), put(action_, decisions.action), put(logp_, decisions.logp);
  if (what_.raw || looks_back_) put(raw_, raw);
  if (what_.raw) put(command_, decisions.command);
  put(step_logp_, decisions.step_logp), put(value_, decisions.value);
  bool* mask = mask_.data_ptr<bool>();
  for (const auto& place : places) mask[place.row * steps_ + place.step] = true;
  if (!memory.defined()) return;
  if (!memory_.defined()) memory_width_ = memory.size(1), memory_ = at::zeros({rows_, memory_width_}, at::kFloat);
  for (size_t i = 0; i < places.size(); ++i)
    if (places[i].step == 0) copy_row(memory_, places[i].row, memory, i);
}

void Recorder::reward(RecordPlace at, double value) {
  reward_.data_ptr<float>()[at.row * steps_ + at.step] = static_cast<float>(value);
}

void Recorder::duration(RecordPlace at, int64_t steps) {
  if (!duration_.defined()) duration_ = at::ones({rows_, steps_}, at::kFloat);
  duration_.data_ptr<float>()[at.row * steps_ + at.step] = static_cast<float>(steps);
}

void Recorder::step(RecordPlace at, int64_t number, const double* observation, double reward) {
  int64_t to = (at.row * steps_ + at.step) * step_reward_.size(2) + number;
  std::copy_n(observation, width_, step_observation_.data_ptr<double>() + to * width_);
  step_reward_.data_ptr<double>()[to] = reward;
}

void Recorder::backward_logp(RecordPlace at, double value) {
  if (!backward_.defined()) backward_ = at::zeros({rows_, steps_}, at::kFloat);
  backward_.data_ptr<float>()[at.row * steps_ + at.step] = static_cast<float>(value);
}

void Recorder::hindsight(RecordPlace at, int64_t first, const std::vector<double>& outcome, double reward) {
  auto width = static_cast<int64_t>(outcome.size());
  Tensor name = at::tensor(outcome, at::kDouble);
  raw_[at.row].narrow(0, 0, at.step + 1).narrow(1, first, width).copy_(name);
  if (what_.transitions) next_observation_[at.row].narrow(0, 0, at.step + 1).narrow(1, first, width).copy_(name);
  if (what_.each_step) {
    step_observation_[at.row].narrow(0, 0, at.step + 1).narrow(2, first, width).copy_(name);
    int64_t lasted = duration_.defined() ? duration_[at.row][at.step].item<int64_t>() : 1;
    step_reward_[at.row][at.step][lasted - 1] = reward;
  }
  this->reward(at, reward);
  seen_again_.push_back(at.row);
}

void Recorder::next_observation(RecordPlace at, const double* observation) {
  if (!what_.transitions) return;
  float* to = next_observation_.data_ptr<float>() + (at.row * steps_ + at.step) * width_;
  std::transform(observation, observation + width_, to, [](double x) { return static_cast<float>(x); });
}

void Recorder::terminated(RecordPlace at) {
  last_.data_ptr<bool>()[at.row * steps_ + at.step] = true;
  if (what_.transitions) terminated_.data_ptr<bool>()[at.row * steps_ + at.step] = true;
}

void Recorder::follows(RecordPlace at, const double* observation, const float* memory) {
  cut_.push_back(at);
  following_.insert(following_.end(), observation, observation + width_);
  remembered_.insert(remembered_.end(), memory, memory + memory_width_);
}

void Recorder::out_of_time(RecordPlace at, const double* observation, const float* memory) {
  last_.data_ptr<bool>()[at.row * steps_ + at.step] = true;
  follows(at, observation, memory);
}

void Recorder::pause(int64_t row, const double* observation, const float* memory) {
  if (last_.data_ptr<bool>()[row * steps_ + steps_ - 1]) return;  // ended there anyway
  follows({row, steps_ - 1}, observation, memory);
}

void Recorder::dropped(int64_t row, int64_t from, int64_t to) {
  mask_[row].narrow(0, from, to - from + 1).zero_();
  reward_[row].narrow(0, from, to - from + 1).zero_();
  dropped_[row] = true;
}

/// [cut_.size()]: the critic's estimate of what follows the record.
Tensor Recorder::values_after(Actor& actor) const {
  auto count = static_cast<int64_t>(cut_.size());
  Tensor observation = at::tensor(following_, at::kDouble).view({count, width_});
  if (memory_width_ == 0) return actor.value(observation, false);
  return actor.value_from(at::tensor(remembered_, at::kFloat).view({count, memory_width_}), observation);
}

void Recorder::set_values(Experience& out, Actor& actor, int64_t steps) const {
  const Tensor& seen = out.context.tensor(extra::observation);
  Tensor value = value_.defined() ? value_.narrow(1, 0, steps).contiguous()
                                  : actor.value(seen.reshape({rows_ * steps, width_}), true).view({rows_, steps});
  Tensor next = at::zeros_like(value);
  if (steps > 1) next.narrow(1, 0, steps - 1).copy_(value.narrow(1, 1, steps - 1));
  next.masked_fill_(last_.narrow(1, 0, steps), 0.0);
  if (!cut_.empty()) {
    Tensor after = values_after(actor);
    for (size_t i = 0; i < cut_.size(); ++i) next[cut_[i].row][cut_[i].step] = after[static_cast<int64_t>(i)];
  }
  out.extra.set(extra::old_value, value);
  out.extra.set(extra::next_value, next);
}

/// Rows whose observations hindsight() changed, as the actor would have seen them, and how likely it finds what was
/// decided there.
void Recorder::judge_again(Experience& out, Actor& actor) const {
  if (step_logp_.defined())
    bad_input("rollout.hindsight", "a policy that makes an action in several steps can't be told afterwards what was ",
              "asked for; use gaussian, categorical or deterministic");
  Tensor rows = at::tensor(seen_again_, at::kLong);
  const int64_t N = rows.numel(), T = out.steps();
  Tensor raw = raw_.index_select(0, rows).narrow(1, 0, T).reshape({N * T, width_});
  std::vector<uint64_t> keys(static_cast<size_t>(N * T));  // greedily: nothing is drawn
  Tensor seen = actor.act(raw, keys, /*greedy=*/true, /*learn=*/false).observation;
  Tensor all = out.context.tensor(extra::observation).index_copy(0, rows, seen.view({N, T, width_}));
  out.context.set(extra::observation, all);
  Experience again = out.select(rows);
  Tensor logp = actor.evaluate(again, {}).logp.masked_fill(again.mask.logical_not(), 0);
  out.logp = out.logp.index_copy(0, rows, logp);
}

Experience Recorder::finish(Actor& actor, int64_t steps) const {
  auto first = [&](const Tensor& x) { return x.narrow(1, 0, steps).contiguous(); };
  Experience out;
  out.context.set(extra::observation, first(observation_));
  out.action = first(action_), out.mask = first(mask_), out.logp = first(logp_), out.reward = first(reward_);
  out.extra.set(extra::last, first(last_));
  if (backward_.defined()) out.extra.set(extra::backward_logp, first(backward_));
  if (step_logp_.defined()) out.extra.set(extra::step_logp, first(step_logp_));
  if (duration_.defined()) out.extra.set(extra::duration, first(duration_));
  if (memory_.defined()) out.context.set(extra::memory, memory_);
  if (!seen_again_.empty()) judge_again(out, actor);
  if (what_.critic) set_values(out, actor, steps);
  if (what_.transitions) {
    out.extra.set(extra::next_observation, first(next_observation_));
    out.extra.set(extra::terminated, first(terminated_));
  }
  if (what_.raw) out.extra.set(extra::raw_observation, first(raw_)), out.extra.set(extra::command, first(command_));
  if (what_.each_step)
    out.extra.set(extra::step_observation, first(step_observation_)),
        out.extra.set(extra::step_reward, first(step_reward_));
  Tensor lost = dropped_.logical_and(out.mask.any(1).logical_not());
  out.reward.masked_fill_(lost.unsqueeze(1), std::nan(""));
  return out;
}

}  // namespace rft
