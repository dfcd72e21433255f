// The part of StageTrainer that learns off-policy: single decisions, collected or given.
#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>

#include "rft/core/error.h"
#include "rft/core/extra.h"
#include "rft/core/rng.h"
#include "train/stage_trainer.h"
#include "train/streams.h"

namespace rft {

Tensor draw_keys(int64_t rows, int64_t group, uint64_t seed) {
  auto draw = at::empty({rows, 2}, at::kLong);
  for (int64_t i = 0; i < rows; ++i) {
    draw.data_ptr<int64_t>()[2 * i] = static_cast<int64_t>(mix(mix(seed, 1), i / group) >> 1);
    draw.data_ptr<int64_t>()[2 * i + 1] = static_cast<int64_t>(mix(mix(seed, 2), i) >> 1);
  }
  return draw;
}

/// Where single decisions are drawn from: what is collected, and the rows that were given.
void StageTrainer::open_replay(bool given) {
  replay_ = std::make_unique<Replay>(config_.replay->capacity);
  if (!given) return;
  Rows rows = Rows::load(config_.data.rows());
  fingerprint_ = rows.fingerprint();
  Experience decisions = decisions_of(actor_->transitions(rows, worlds_->spec().chunk, needs_.q->gamma));
  if (decisions.rows() == 0) bad_input(config_.data.rows()[0], "the rows hold no decision that can be learned from");
  given_ = std::make_unique<Replay>(decisions.rows());
  given_->add(decisions);
}

/// What a replay keeps of rows of decisions, with extra::returns where the objective wants them: the discounted rewards
/// from each decision to the end of its episode.
Experience StageTrainer::decisions_of(Experience batch) const {
  batch.logp = batch.old_logp = Tensor();  // who acted does not matter to what is learned
  if (!needs_.q->returns) batch.extra.erase(extra::returns);
  if (!needs_.q->returns || batch.extra.has(extra::returns)) return actor_->decisions(batch);
  Tensor reward = batch.reward.mul(batch.mask), last = batch.extra.tensor(extra::last), sum = at::zeros_like(reward);
  Tensor duration = batch.extra.find(extra::duration), ahead = at::zeros({batch.rows()}, reward.options());
  Tensor discount = duration.defined() ? at::pow(needs_.q->gamma, duration) : at::full_like(reward, needs_.q->gamma);
  for (int64_t t = batch.steps() - 1; t >= 0; --t) {
    ahead = reward.select(1, t).add(ahead.masked_fill(last.select(1, t), 0).mul(discount.select(1, t)));
    sum.select(1, t).copy_(ahead);
  }
  batch.extra.set(extra::returns, sum);
  return actor_->decisions(batch);
}

/// Optimizer steps that `decisions` new decisions are worth.
int64_t StageTrainer::updates_for(int64_t decisions) const {
  return std::max<int64_t>(std::llround(static_cast<double>(decisions) * config_.replay->updates), 1);
}

/// One more rollout goes into the replay; before anything is learned, as many as it takes to fill it for a start.
void StageTrainer::refill_replay(Metrics& metrics) {
  int64_t before = tokens_;
  do {
    CollectOptions options = collect_options();
    options.uniform = tokens_ < config_.replay->warmup;
    RolloutSlots slots{*policy_, reward_.get(), credit_.get(), *selector_, worlds_.get()};
    Metrics found;
    Experience rollout = collect(slots, data_, cursor_, mix(mix(seed_, kSampling), rollouts_++), options, found);
    int64_t made = static_cast<int64_t>(found.mean("sampled_tokens"));
    if (made == 0) run_failed("rollout", "nothing was collected: every episode's simulation broke down");
    tokens_ += made;
    replay_->add(decisions_of(std::move(rollout)));
    metrics.merge(found);
  } while (tokens_ < config_.replay->warmup);
  updates_ = updates_for(before < config_.replay->warmup ? 1 : tokens_ - before);
}

/// Decisions from the replay and from those that were given, in the recipe's shares.
Experience StageTrainer::draw_decisions() {
  int64_t count = config_.train.batch_size;
  uint64_t seed = mix(mix(seed_, kDraws), static_cast<uint64_t>(steps_));
  int64_t old = !given_                ? 0
                : replay_->size() == 0 ? count
                                       : std::llround(static_cast<double>(count) * config_.replay->given_share);
  std::vector<Experience> parts;
  if (old > 0) parts.push_back(given_->draw(old, mix(seed, 3)));
  if (old < count) parts.push_back(replay_->draw(count - old, mix(seed, 4)));
  Experience out = parts.size() == 1 ? std::move(parts[0]) : Experience::concat(parts);
  out.group = at::arange(count, at::kLong);
  out.extra.set(extra::draw, draw_keys(count, 1, seed));
  return out;
}

}  // namespace rft
