// One decision of every environment that is under way, carried out and recorded.
#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>

#include "rft/core/error.h"
#include "rft/core/log.h"
#include "rft/core/rng.h"
#include "rollout/recorder.h"
#include "rollout/world.h"

namespace rft {
namespace {

/// Normalised rewards are kept within this, as VecNormalize does.
constexpr double kRewardBound = 10;

}  // namespace

/// Tells environments that change over a run how far it is.
void Worlds::progress(const std::vector<World*>& active) {
  if (!anneals_) return;
  for (World* world : active) left_ = world->annealed->progress(taken_);
}

/// What agent `a` remembers.
const float* Worlds::remembered(const World& world, int64_t a) const {
  return world.memory.data() + a * static_cast<int64_t>(world.memory.size()) / spec().agents;
}

void Worlds::normalize(World& world) {
  if (!options_.normalize_reward) return;
  for (size_t a = 0; a < world.reward.size(); ++a) {
    world.discounted[a] =
        world.discounted[a] * std::pow(options_.reward_gamma, static_cast<double>(world.lasted)) + world.reward[a];
    returns_.add({&world.discounted[a], 1});
    double scaled = world.reward[a] / std::sqrt(returns_.variance[0] + 1e-8);
    world.reward[a] = std::clamp(scaled, -kRewardBound, kRewardBound);
  }
}

void Worlds::count_failure(World& world) {
  if (options_.stop_on_failure)
    run_failed("environment", "the simulation in environment ", world.index, " broke down at step ", world.elapsed,
               " of its episode: ", world.failure);
  if (failures_++ == 0) log::warn(cat("an episode is dropped, its simulation broke down: ", world.failure));
}

/// Records the episode that has ended as if it had been asked for what it came to, where the dice say so.
void Worlds::look_back(const World& world, uint64_t seed, const Acting& acting, Recorder& recorder) const {
  constexpr uint64_t kHindsight = 0x68696e64;
  if (acting.greedy || options_.hindsight <= 0) return;
  if (Rng(mix(mix(seed, kHindsight), static_cast<uint64_t>(world.row))).uniform(0) >= options_.hindsight) return;
  if (auto seen = world.conditioned->hindsight())
    recorder.hindsight({world.row, world.step}, seen->first, seen->outcome, seen->reward);
}

/// What the agents of the active worlds decide, recorded at `places`.
Decisions Worlds::ask(Actor& actor, const std::vector<World*>& active, const std::vector<RecordPlace>& places,
                      uint64_t seed, const Acting& acting, Recorder& recorder) {
  const int64_t count = static_cast<int64_t>(active.size()) * spec().agents, width = actor.memory();
  std::vector<uint64_t> keys;
  for (const auto& place : places)
    keys.push_back(mix(mix(seed, static_cast<uint64_t>(place.row)), static_cast<uint64_t>(place.step)));
  Tensor raw = at::empty({count, spec().observation}, at::kDouble);
  double* to = raw.data_ptr<double>();
  for (World* world : active) to = std::copy(world->observation.begin(), world->observation.end(), to);
  if (width == 0) {
    Decisions out = acting.uniform ? actor.random(raw, keys) : actor.act(raw, keys, acting.greedy, !acting.greedy);
    recorder.decisions(out, raw, {}, places);
    return out;
  }
  Tensor memory = at::empty({count, width}, at::kFloat);
  float* into = memory.data_ptr<float>();
  for (World* world : active) {
    world->memory.resize(static_cast<size_t>(spec().agents * width));
    into = std::copy(world->memory.begin(), world->memory.end(), into);
  }
  Decisions out = actor.act_from(memory, raw, keys, acting.greedy, /*learn=*/!acting.greedy);
  Tensor after = out.memory.contiguous();
  const float* from = after.const_data_ptr<float>();
  for (World* world : active) {
    std::copy_n(from, world->memory.size(), world->memory.begin());
    from += world->memory.size();
  }
  recorder.decisions(out, raw, memory, places);
  return out;
}

/// What came of a decision that went well.
void Worlds::record_rewards(World& world, bool ended, Recorder& recorder) {
  const int64_t A = spec().agents;
  if (ended) {
    double sum = 0;
    for (double value : world.returns) sum += value;
    finished_returns_.push_back(sum / static_cast<double>(A));
    finished_lengths_.push_back(static_cast<double>(world.elapsed));
  }
  normalize(world);
  for (int64_t a = 0; a < A; ++a) {
    RecordPlace at{world.row + a, world.step};
    recorder.reward(at, world.reward[a]);
    if (options_.chunk > 1) recorder.duration(at, world.lasted);
    recorder.next_observation(at, world.observation.data() + a * spec().observation);
    for (int64_t i = 0; !world.seen.empty() && i < world.lasted; ++i)
      recorder.step(at, i, world.seen.data() + (i * A + a) * spec().observation,
                    world.earned[static_cast<size_t>(i * A + a)]);
  }
  if (world.reversible) recorder.backward_logp({world.row, world.step}, world.reversible->backward_logp());
}

/// Records what came of a world's decision; whether its episode ended with it.
bool Worlds::record(World& world, uint64_t seed, const Acting& acting, Recorder& recorder) {
  const int64_t A = spec().agents;
  const bool failed = !world.failure.empty(), out_of_time = time_limit() > 0 && world.elapsed >= time_limit();
  if (failed) {
    count_failure(world);
    for (int64_t a = 0; a < A; ++a) recorder.dropped(world.row + a, world.began, world.step);
  } else {
    record_rewards(world, world.terminated || out_of_time, recorder);
    if (world.terminated) look_back(world, seed, acting, recorder);
  }
  ++world.step;
  if (!failed && !world.terminated && !out_of_time) return false;
  for (int64_t a = 0; a < A; ++a) {
    RecordPlace at{world.row + a, world.step - 1};
    if (world.terminated || failed)
      recorder.terminated(at);
    else
      recorder.out_of_time(at, world.observation.data() + a * spec().observation, remembered(world, a));
  }
  return true;
}

/// One decision of every active world, recorded. Returns the worlds whose episode ended, in order; their last
/// observations are still there.
std::vector<Worlds::World*> Worlds::decide(Actor& actor, const std::vector<World*>& active, uint64_t seed,
                                           const Acting& acting, Recorder& recorder) {
  const int64_t A = spec().agents;
  std::vector<RecordPlace> places;
  for (World* world : active)
    for (int64_t a = 0; a < A; ++a) places.push_back({world->row + a, world->step});
  for (World* world : active) {
    auto count = static_cast<size_t>(acting.each_step ? options_.chunk : 0);
    world->seen.resize(count * world->observation.size()), world->earned.resize(count * world->reward.size());
  }
  progress(active);
  Decisions decisions = ask(actor, active, places, seed, acting, recorder);
  const double* told = decisions.command.const_data_ptr<double>();
  if (!std::all_of(told, told + decisions.command.numel(), [](double x) { return std::isfinite(x); }))
    run_failed("policy", "an action is not a finite number, in one of the environments after ", active.front()->elapsed,
               " steps; the weights or the standard deviation have broken down");
  step(active, decisions.command);
  for (const World* world : active) taken_ += world->lasted;
  std::vector<World*> ended;
  for (World* world : active)
    if (record(*world, seed, acting, recorder)) ended.push_back(world);
  return ended;
}

}  // namespace rft
