// What a checkpoint holds of Worlds: every environment in mid-episode, and what is counted over the run.
#include <ATen/ATen.h>

#include <algorithm>

#include "rft/core/error.h"
#include "rollout/world.h"

namespace rft {

State Worlds::state() const {
  State out;
  if (anneals_) out["steps"] = at::tensor({taken_}, at::kLong);
  if (!started_) return out;
  for (const auto& world : worlds_) {
    std::string name = cat("world.", world->index, ".");
    std::vector<double> progress{static_cast<double>(world->elapsed), static_cast<double>(world->episode)};
    for (const auto* part : {&world->returns, &world->discounted})
      progress.insert(progress.end(), part->begin(), part->end());
    out[name + "environment"] = at::tensor(world->environment->state(), at::kDouble);
    out[name + "observation"] = at::tensor(world->observation, at::kDouble);
    out[name + "progress"] = at::tensor(progress, at::kDouble);
    if (!world->memory.empty()) out[name + "memory"] = at::tensor(world->memory, at::kFloat);
  }
  out["returns"] = at::tensor({returns_.mean[0], returns_.variance[0], returns_.count}, at::kDouble);
  return out;
}

void Worlds::load_state(const State& state) {
  if (auto steps = state.find("steps"); steps != state.end()) taken_ = steps->second.item<int64_t>();
  if (!state.contains("returns")) return;  // no episode was under way
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
    if (auto found = state.find(name + "memory"); found != state.end()) {
      const float* memory = found->second.const_data_ptr<float>();
      world->memory.assign(memory, memory + found->second.numel());
    }
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
