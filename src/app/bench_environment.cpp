#include <ATen/Parallel.h>

#include <cstdio>
#include <memory>

#include "app/bench.h"
#include "rft/core/clock.h"
#include "rft/core/registry.h"
#include "rft/core/rng.h"
#include "rft/env/environment.h"

namespace rft::app {
namespace {

/// One of the environments that are stepped side by side, under random actions.
struct Lane {
  std::unique_ptr<Environment> environment;
  std::vector<double> observation, action, reward;
  uint64_t draws = 0, episodes = 0;
  int64_t elapsed = 0;

  void step(const Rng& rng) {
    const EnvironmentSpec& spec = environment->spec();
    for (size_t i = 0; i < action.size(); ++i) {
      double u = rng.uniform(draws++);
      if (spec.action.choices) {
        action[i] = static_cast<double>(static_cast<int64_t>(u * static_cast<double>(spec.action.choices)));
      } else {
        size_t k = i % spec.action.low.size();
        action[i] = spec.action.low[k] + (spec.action.high[k] - spec.action.low[k]) * u;
      }
    }
    bool ended = environment->step(action, observation, reward);
    if (!ended && !(spec.max_steps > 0 && ++elapsed >= spec.max_steps)) return;
    environment->reset(mix(draws, ++episodes), observation);
    elapsed = 0;
  }
};

}  // namespace

void bench_environment(const EnvironmentBench& options) {
  std::vector<Lane> lanes(static_cast<size_t>(options.environments));
  for (size_t i = 0; i < lanes.size(); ++i) {
    Lane& lane = lanes[i];
    lane.environment = registry<Environment>().make(Config::parse("{type: " + options.task + "}"));
    const EnvironmentSpec& spec = lane.environment->spec();
    auto agents = static_cast<size_t>(spec.agents);
    lane.observation.resize(agents * static_cast<size_t>(spec.observation));
    lane.action.resize(agents * static_cast<size_t>(spec.action.size())), lane.reward.resize(agents);
    lane.environment->reset(i, lane.observation);
  }
  auto round = [&] {
    at::parallel_for(0, options.environments, 1, [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) lanes[static_cast<size_t>(i)].step(Rng(static_cast<uint64_t>(i)));
    });
  };
  for (int i = 0; i < 100; ++i) round();
  int64_t rounds = 0;
  Clock clock;
  do round();
  while (++rounds % 16 != 0 || clock.seconds() < options.seconds);
  std::printf("environment: %s, %lld side by side, %d threads: %.0f steps/s\n", options.task.c_str(),
              static_cast<long long>(options.environments), at::get_num_threads(),
              static_cast<double>(rounds * options.environments) / clock.seconds());
}

}  // namespace rft::app
