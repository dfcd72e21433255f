#include "rft/rollout/worlds.h"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <ATen/core/grad_mode.h>

#include <algorithm>
#include <cmath>
#include <cstring>

#include "rft/core/error.h"
#include "rft/core/extra.h"
#include "rft/core/log.h"
#include "rft/core/rng.h"
#include "rollout/recorder.h"

namespace rft {
namespace {

/// Normalised rewards are kept within this, as VecNormalize does.
constexpr double kRewardBound = 10;

}  // namespace

void WorldsOptions::visit(OptionVisitor& v) {
  v.option("environments", environments, "environments that are stepped side by side", at_least(1));
  v.option("steps", steps, "decisions of every agent a rollout, over episodes' ends; null = whole episodes",
           at_least(1).in("decisions"));
  v.option("max_steps", max_steps, "an episode is cut off after so many steps; null = the environment's own limit",
           at_least(1).in("steps"));
  v.option("normalize_reward", normalize_reward,
           "divide rewards by the running deviation of their discounted sum, within +-10");
  v.option("reward_gamma", reward_gamma, "the discount of that sum; should be the credit's", between(0, 1));
  v.option("learn_from", learn_from,
           "rows: train.batch_size counts rows (episodes, or segments of `steps`); decisions: rows are cut into their "
           "decisions, which are shuffled, and it counts those; auto: decisions where `steps` is given",
           one_of({"auto", "rows", "decisions"}));
  v.option("eval_episodes", eval_episodes, "episodes of a held-out evaluation", at_least(1));
  v.option("stop_on_failure", stop_on_failure,
           "stop the run when a simulation breaks down; false: drop the episode and count it (episode/failed)");
}

struct Worlds::World {
  std::unique_ptr<Environment> environment;
  const Reversible* reversible = nullptr;  ///< `environment`, where it is one
  int64_t index = 0;
  std::vector<double> observation, action, reward, returns, discounted;
  int64_t elapsed = 0, episode = 0;
  bool terminated = false;
  std::string failure;                   ///< of the last step, "" where it went well
  int64_t row = 0, step = 0, began = 0;  ///< where its next decision is recorded; where the episode began there
};

Worlds::Worlds(const std::function<std::unique_ptr<Environment>()>& make, const WorldsOptions& options, uint64_t seed)
    : options_(options), seed_(seed) {
  for (int64_t i = 0; i < options_.environments; ++i) {
    auto world = std::make_unique<World>();
    world->environment = make();
    world->reversible = dynamic_cast<const Reversible*>(world->environment.get());
    world->index = i;
    const EnvironmentSpec& spec = world->environment->spec();
    auto agents = static_cast<size_t>(spec.agents);
    world->observation.resize(agents * static_cast<size_t>(spec.observation));
    world->action.resize(agents * static_cast<size_t>(spec.action.size()));
    world->reward.resize(agents), world->returns.resize(agents), world->discounted.resize(agents);
    worlds_.push_back(std::move(world));
  }
}

Worlds::~Worlds() = default;

const EnvironmentSpec& Worlds::spec() const { return worlds_.front()->environment->spec(); }
int64_t Worlds::rows() const { return options_.environments * spec().agents; }
int64_t Worlds::time_limit() const { return options_.max_steps.value_or(spec().max_steps); }

void Worlds::start(World& world) {
  world.elapsed = 0, world.terminated = false, world.began = world.step;
  std::fill(world.returns.begin(), world.returns.end(), 0.0);
  std::fill(world.discounted.begin(), world.discounted.end(), 0.0);
}

/// Every active world acts, agent after agent as in `command`.
void Worlds::step(const std::vector<World*>& active, const Tensor& command) {
  const double* from = command.const_data_ptr<double>();
  at::parallel_for(0, static_cast<int64_t>(active.size()), 1, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      World& world = *active[static_cast<size_t>(i)];
      std::copy_n(from + i * static_cast<int64_t>(world.action.size()), world.action.size(), world.action.begin());
      world.failure.clear();
      try {
        world.terminated = world.environment->step(world.action, world.observation, world.reward);
      } catch (const RunError& error) {
        world.failure = error.what();
      }
    }
  });
  for (World* world : active) {
    ++world->elapsed;
    for (size_t a = 0; a < world->reward.size() && world->failure.empty(); ++a) world->returns[a] += world->reward[a];
  }
}

void Worlds::normalize(World& world) {
  if (!options_.normalize_reward) return;
  for (size_t a = 0; a < world.reward.size(); ++a) {
    world.discounted[a] = world.discounted[a] * options_.reward_gamma + world.reward[a];
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

void Worlds::report(Metrics& metrics) {
  auto mean = [&](const char* name, const std::vector<double>& values) {
    double sum = 0;
    for (double value : values) sum += value;
    if (!values.empty())
      metrics.add(name, sum / static_cast<double>(values.size()), static_cast<double>(values.size()));
  };
  mean("episode/return", finished_returns_), mean("episode/length", finished_lengths_);
  if (failures_) metrics.add("episode/failed", static_cast<double>(failures_));
  finished_returns_.clear(), finished_lengths_.clear(), failures_ = 0;
}

/// One decision of every active world, recorded. Returns the worlds whose episode ended, in order; their last
/// observations are still there.
std::vector<Worlds::World*> Worlds::decide(Actor& actor, const std::vector<World*>& active, uint64_t seed,
                                           const Acting& acting, Recorder& recorder) {
  const int64_t A = spec().agents;
  std::vector<RecordPlace> places;
  std::vector<uint64_t> keys;
  Tensor raw = at::empty({static_cast<int64_t>(active.size()) * A, spec().observation}, at::kDouble);
  double* to = raw.data_ptr<double>();
  for (World* world : active) {
    to = std::copy(world->observation.begin(), world->observation.end(), to);
    for (int64_t a = 0; a < A; ++a) {
      places.push_back({world->row + a, world->step});
      keys.push_back(mix(mix(seed, static_cast<uint64_t>(world->row + a)), static_cast<uint64_t>(world->step)));
    }
  }
  Decisions decisions =
      acting.uniform ? actor.random(raw, keys) : actor.act(raw, keys, acting.greedy, /*learn=*/!acting.greedy);
  const double* told = decisions.command.const_data_ptr<double>();
  if (!std::all_of(told, told + decisions.command.numel(), [](double x) { return std::isfinite(x); }))
    run_failed("policy", "an action is not a finite number, in one of the environments after ", active.front()->elapsed,
               " steps; the weights or the standard deviation have broken down");
  recorder.decisions(decisions, raw, places);
  step(active, decisions.command);
  std::vector<World*> ended;
  for (World* world : active) {
    bool out_of_time = time_limit() > 0 && world->elapsed >= time_limit();
    bool failed = !world->failure.empty();
    if (failed) {
      count_failure(*world);
      for (int64_t a = 0; a < A; ++a) recorder.dropped(world->row + a, world->began, world->step);
    } else {
      if (world->terminated || out_of_time) {
        double sum = 0;
        for (double value : world->returns) sum += value;
        finished_returns_.push_back(sum / static_cast<double>(A));
        finished_lengths_.push_back(static_cast<double>(world->elapsed));
      }
      normalize(*world);
      for (int64_t a = 0; a < A; ++a) recorder.reward({world->row + a, world->step}, world->reward[a]);
      if (world->reversible) recorder.backward_logp({world->row, world->step}, world->reversible->backward_logp());
    }
    for (int64_t a = 0; a < A && !failed; ++a)
      recorder.next_observation({world->row + a, world->step}, world->observation.data() + a * spec().observation);
    ++world->step;
    if (!failed && !world->terminated && !out_of_time) continue;
    for (int64_t a = 0; a < A; ++a) {
      RecordPlace at{world->row + a, world->step - 1};
      if (world->terminated || failed)
        recorder.terminated(at);
      else
        recorder.out_of_time(at, world->observation.data() + a * spec().observation);
    }
    ended.push_back(world);
  }
  return ended;
}

Experience Worlds::segments(Actor& actor, uint64_t seed, const Acting& acting, Metrics& metrics) {
  at::NoGradGuard no_grad;
  const int64_t T = options_.steps.value(), A = spec().agents;
  auto begin_episode = [&](World& world) {
    world.environment->reset(
        mix(mix(seed_, static_cast<uint64_t>(world.index)), static_cast<uint64_t>(world.episode++)), world.observation);
    start(world);
  };
  std::vector<World*> active;
  for (auto& world : worlds_) {
    world->row = world->index * A, world->step = 0, world->began = 0;
    if (!started_) begin_episode(*world);
    active.push_back(world.get());
  }
  started_ = true;
  Recorder recorder(rows(), T, spec(), acting);
  for (int64_t t = 0; t < T; ++t)
    for (World* world : decide(actor, active, seed, acting, recorder)) begin_episode(*world);
  for (World* world : active)
    for (int64_t a = 0; a < A; ++a) recorder.pause(world->row + a, world->observation.data() + a * spec().observation);
  Experience out = recorder.finish(actor, T);
  out.group = at::arange(rows(), at::kLong);
  report(metrics);
  return out;
}

Experience Worlds::episodes(Actor& actor, int64_t starts, int64_t group_size, uint64_t seed, const Acting& acting,
                            Metrics& metrics, const std::function<void(const Environment&)>& frame) {
  at::NoGradGuard no_grad;
  const int64_t A = spec().agents, episodes = starts * group_size;
  if (time_limit() <= 0)
    bad_input("rollout.max_steps", "'", spec().name, "' has no time limit of its own: whole episodes need one");
  Recorder recorder(episodes * A, time_limit(), spec(), acting);
  int64_t next = 0, longest = 0;
  auto begin_episode = [&](World& world) {
    auto of = static_cast<uint64_t>(next / group_size);
    world.row = next++ * A, world.step = 0;
    world.environment->reset(mix(mix(seed, 1), of), world.observation);
    start(world);
    if (frame && world.row == 0) frame(*world.environment);
  };
  std::vector<World*> active;
  for (auto& world : worlds_)
    if (next < episodes) begin_episode(*world), active.push_back(world.get());
  started_ = false;
  while (!active.empty()) {
    bool first_goes_on = active.front()->row == 0;
    auto ended = decide(actor, active, mix(seed, 2), acting, recorder);
    if (frame && first_goes_on) frame(*worlds_.front()->environment);
    for (World* world : ended) {
      longest = std::max(longest, world->step);
      if (next < episodes)
        begin_episode(*world);
      else
        active.erase(std::find(active.begin(), active.end(), world));
    }
  }
  Experience out = recorder.finish(actor, longest);
  out.group = at::arange(starts, at::kLong).repeat_interleave(group_size * A);
  report(metrics);
  return out;
}

State Worlds::state() const {
  State out;
  if (!started_) return out;
  for (const auto& world : worlds_) {
    std::string name = cat("world.", world->index, ".");
    std::vector<double> progress{static_cast<double>(world->elapsed), static_cast<double>(world->episode)};
    for (const auto* part : {&world->returns, &world->discounted})
      progress.insert(progress.end(), part->begin(), part->end());
    out[name + "environment"] = at::tensor(world->environment->state(), at::kDouble);
    out[name + "observation"] = at::tensor(world->observation, at::kDouble);
    out[name + "progress"] = at::tensor(progress, at::kDouble);
  }
  out["returns"] = at::tensor({returns_.mean[0], returns_.variance[0], returns_.count}, at::kDouble);
  return out;
}

void Worlds::load_state(const State& state) {
  if (state.empty()) return;
  auto numbers = [&](const std::string& name, int64_t size) {
    auto found = state.find(name);
    if (found == state.end() || (size >= 0 && found->second.numel() != size))
      bad_input("checkpoint", "the environments' '", name,
                "' is missing or does not fit: was the number of environments", " changed?");
    const double* data = found->second.const_data_ptr<double>();
    return std::vector<double>(data, data + found->second.numel());
  };
  for (auto& world : worlds_) {
    std::string name = cat("world.", world->index, ".");
    size_t agents = world->reward.size();
    world->environment->set_state(numbers(name + "environment", -1));
    world->observation = numbers(name + "observation", static_cast<int64_t>(world->observation.size()));
    auto progress = numbers(name + "progress", static_cast<int64_t>(2 + 2 * agents));
    world->elapsed = static_cast<int64_t>(progress[0]), world->episode = static_cast<int64_t>(progress[1]);
    std::copy_n(progress.begin() + 2, agents, world->returns.begin());
    std::copy_n(progress.begin() + 2 + static_cast<int64_t>(agents), agents, world->discounted.begin());
  }
  auto returns = numbers("returns", 3);
  returns_.mean[0] = returns[0], returns_.variance[0] = returns[1], returns_.count = returns[2];
  started_ = true;
}

}  // namespace rft
