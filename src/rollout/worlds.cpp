#include "rft/rollout/worlds.h"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <ATen/core/grad_mode.h>

#include <algorithm>
#include <cmath>

#include "rft/core/error.h"
#include "rft/core/extra.h"
#include "rft/core/rng.h"
#include "rollout/recorder.h"
#include "rollout/world.h"

namespace rft {
namespace {

/// The world in which a decision is `chunk` actions.
EnvironmentSpec chunked(EnvironmentSpec spec, int64_t chunk, bool reversible) {
  if (chunk == 1) return spec;
  if (spec.action.discrete() || reversible)
    bad_input("rollout.chunk", "an action of '", spec.name, "' is one of several choices: a decision can't hold ",
              chunk, " of them");
  ActionSpace one = spec.action;
  for (int64_t i = 1; i < chunk; ++i) {
    spec.action.low.insert(spec.action.low.end(), one.low.begin(), one.low.end());
    spec.action.high.insert(spec.action.high.end(), one.high.begin(), one.high.end());
  }
  spec.chunk = chunk;
  return spec;
}

/// Writes `from` as row i of `rows`, which may hold none.
void keep(const std::vector<double>& from, std::vector<double>& rows, int64_t i) {
  if (!rows.empty()) std::copy(from.begin(), from.end(), rows.begin() + i * static_cast<int64_t>(from.size()));
}

}  // namespace

void WorldsOptions::visit(OptionVisitor& v) {
  v.option("environments", environments, "environments that are stepped side by side", at_least(1));
  v.option("steps", steps, "decisions of every agent a rollout, over episodes' ends; null = whole episodes",
           at_least(1).in("decisions"));
  v.option("max_steps", max_steps, "an episode is cut off after so many steps; null = the environment's own limit",
           at_least(1).in("steps"));
  v.option(
      "chunk", chunk,
      "actions that one decision holds; they are carried out one after another without looking, and their rewards, "
      "each discounted by reward_gamma, are added up",
      at_least(1).in("actions"));
  v.option("hide", hide,
           "numbers of an observation, counted from 0, that agents see as 0: a task that takes memory (cart_pole's "
           "velocities are 1 and 3)",
           at_least(0));
  v.option(
      "hindsight", hindsight,
      "share of the episodes that were asked for an outcome (outcome_conditioned) that are recorded as if asked for "
      "what they came to",
      between(0, 1));
  v.option("normalize_reward", normalize_reward,
           "divide rewards by the running deviation of their discounted sum, within +-10");
  v.option("reward_gamma", reward_gamma,
           "the discount of that sum and within a chunk, a step of the environment; should be the credit's gamma",
           between(0, 1));
  v.option("learn_from", learn_from,
           "rows: train.batch_size counts rows (episodes, or segments of `steps`); decisions: rows are cut into their "
           "decisions, which are shuffled, and it counts those; auto: decisions where `steps` is given, and of "
           "demonstrations; rows for a policy with memory",
           one_of({"auto", "rows", "decisions"}));
  v.option("eval_episodes", eval_episodes, "episodes of a held-out evaluation", at_least(1));
  v.option("stop_on_failure", stop_on_failure,
           "stop the run when a simulation breaks down; false: drop the episode and count it (episode/failed)");
}

Worlds::Worlds(const std::function<std::unique_ptr<Environment>()>& make, const WorldsOptions& options, uint64_t seed)
    : options_(options), seed_(seed) {
  for (int64_t i = 0; i < options_.environments; ++i) {
    auto world = std::make_unique<World>();
    world->environment = make();
    world->reversible = dynamic_cast<const Reversible*>(world->environment.get());
    world->conditioned = dynamic_cast<const Conditioned*>(world->environment.get());
    world->annealed = dynamic_cast<Annealed*>(world->environment.get());
    world->index = i;
    const EnvironmentSpec& spec = world->environment->spec();
    if (i == 0) spec_ = chunked(spec, options_.chunk, world->reversible);
    auto agents = static_cast<size_t>(spec.agents);
    world->observation.resize(agents * static_cast<size_t>(spec.observation));
    world->action.resize(agents * static_cast<size_t>(spec.action.size()));
    world->reward.resize(agents), world->step_reward.resize(agents), world->returns.resize(agents),
        world->discounted.resize(agents);
    worlds_.push_back(std::move(world));
  }
  if (options_.hindsight > 0 && (!worlds_.front()->conditioned || options_.steps))
    bad_input("rollout.hindsight",
              "must be 0 but for whole episodes (no rollout.steps) of an environment that asks for ",
              "outcomes (wrappers: [{type: outcome_conditioned}]); got ", options_.hindsight, " in '", spec_.name, "'");
  for (double number : options_.hide)
    if (number != std::floor(number) || number >= static_cast<double>(spec_.observation))
      bad_input("rollout.hide", "'", spec_.name, "' observes numbers 0 to ", spec_.observation - 1, "; got ", number);
}

Worlds::~Worlds() = default;

void Worlds::anneal() { anneals_ = worlds_.front()->annealed != nullptr; }

int64_t Worlds::rows() const { return options_.environments * spec().agents; }
int64_t Worlds::time_limit() const { return options_.max_steps.value_or(spec().max_steps); }

void Worlds::start(World& world) {
  conceal(world);
  world.elapsed = 0, world.terminated = false, world.began = world.step;
  std::fill(world.returns.begin(), world.returns.end(), 0.0);
  std::fill(world.discounted.begin(), world.discounted.end(), 0.0);
  std::fill(world.memory.begin(), world.memory.end(), 0.0f);
}

/// Carries out a decision [agents * action.size()], to its end or the episode's. `reward` is that of the decision.
void Worlds::step(World& world, const double* command) {
  const auto agents = world.reward.size(), width = world.action.size() / agents;
  std::fill(world.reward.begin(), world.reward.end(), 0.0);
  double discount = 1;
  for (world.lasted = 0; world.lasted < options_.chunk && !world.terminated;) {
    for (size_t a = 0; a < agents; ++a)
      std::copy_n(command + (a * static_cast<size_t>(options_.chunk) + static_cast<size_t>(world.lasted)) * width,
                  width, world.action.begin() + static_cast<std::ptrdiff_t>(a * width));
    keep(world.observation, world.seen, world.lasted);
    ++world.lasted, ++world.elapsed;
    world.terminated = world.environment->step(world.action, world.observation, world.step_reward);
    keep(world.step_reward, world.earned, world.lasted - 1);
    conceal(world);
    for (size_t a = 0; a < agents; ++a) {
      world.reward[a] += discount * world.step_reward[a], world.returns[a] += world.step_reward[a];
    }
    discount *= options_.reward_gamma;
    if (time_limit() > 0 && world.elapsed >= time_limit()) break;
  }
}

void Worlds::conceal(World& world) const {
  for (double number : options_.hide)
    for (size_t at = static_cast<size_t>(number); at < world.observation.size();
         at += static_cast<size_t>(spec().observation))
      world.observation[at] = 0;
}

/// Every active world acts, agent after agent as in `command`.
void Worlds::step(const std::vector<World*>& active, const Tensor& command) {
  const double* from = command.const_data_ptr<double>();
  const int64_t width = spec().agents * spec().action.size();
  at::parallel_for(0, static_cast<int64_t>(active.size()), 1, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      World& world = *active[static_cast<size_t>(i)];
      world.failure.clear();
      try {
        step(world, from + i * width);
      } catch (const RunError& error) {
        world.failure = error.what();
      }
    }
  });
}

void Worlds::report(Metrics& metrics) {
  auto mean = [&](const char* name, const std::vector<double>& values) {
    double sum = 0;
    for (double value : values) sum += value;
    if (!values.empty())
      metrics.add(name, sum / static_cast<double>(values.size()), static_cast<double>(values.size()));
  };
  mean("episode/return", finished_returns_), mean("episode/length", finished_lengths_);
  if (anneals_) metrics.add("assistance", left_);
  if (failures_) metrics.add("episode/failed", static_cast<double>(failures_));
  finished_returns_.clear(), finished_lengths_.clear(), failures_ = 0;
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
    for (int64_t a = 0; a < A; ++a)
      recorder.pause(world->row + a, world->observation.data() + a * spec().observation, remembered(*world, a));
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
  if (options_.hindsight > 0 && actor.memory() > 0)
    bad_input("rollout.hindsight", "a policy that remembers can't be told afterwards what was asked for; got ",
              options_.hindsight);
  Recorder recorder(episodes * A, (time_limit() + options_.chunk - 1) / options_.chunk, spec(), acting,
                    options_.hindsight > 0);
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

}  // namespace rft
