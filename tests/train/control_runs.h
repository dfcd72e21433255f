#pragma once
/// Whole runs of control, and episodes to learn from.
#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>
#include <sstream>

#include "rft/core/registry.h"
#include "rft/core/rng.h"
#include "rft/env/environment.h"
#include "rft/train/trainer.h"
#include "support.h"

namespace rft::testing {

/// Runs a recipe and gives the last line of its metrics.
inline nlohmann::json run_recipe(const TempDir& dir, const std::string& name, const std::string& recipe,
                                 bool resume = false) {
  std::string output = dir / name;
  TrainRequest request;
  request.quiet = true, request.resume = resume;
  train(Recipe::from(Config::parse("run: {seed: 3, output: " + output + "}\n" + recipe, "test")), request);
  std::istringstream lines(read_file(output + "/metrics.jsonl"));
  std::string line, last;
  while (std::getline(lines, line)) last = line;
  return nlohmann::json::parse(last);
}

/// Episodes of point_mass by a controller that pushes towards its goal at random strength and brakes too little.
inline void write_demonstrations(const std::string& file, int64_t episodes) {
  auto world = registry<Environment>().make(Config::parse("{type: point_mass, max_steps: 40}"));
  std::string text;
  for (int64_t e = 0; e < episodes; ++e) {
    nlohmann::json observations, actions, rewards;
    std::vector<double> seen(4), command(2), reward(1);
    world->reset(mix(77, static_cast<uint64_t>(e)), seen);
    for (int64_t t = 0; t < 40; ++t) {
      Rng rng(mix(mix(78, static_cast<uint64_t>(e)), static_cast<uint64_t>(t)));
      for (size_t k = 0; k < 2; ++k)
        command[k] = std::clamp(0.5 * seen[2 + k] - 0.2 * seen[k] + 0.6 * (rng.uniform(k) - 0.5), -1.0, 1.0);
      observations.push_back(seen), actions.push_back(command);
      world->step(command, seen, reward);
      rewards.push_back(reward[0]);
    }
    observations.push_back(seen);
    text += nlohmann::json{{"observations", observations}, {"actions", actions}, {"rewards", rewards}}.dump() + "\n";
  }
  write_file(file, text);
}

/// The last evaluation of a stage.
inline double evaluated(const std::string& directory, const std::string& stage) {
  std::istringstream lines(read_file(directory + "/metrics.jsonl"));
  double out = std::nan("");
  for (std::string line; std::getline(lines, line);) {
    auto row = nlohmann::json::parse(line);
    if (row.at("stage") == stage && row.contains("eval/reward")) out = row.at("eval/reward");
  }
  return out;
}

}  // namespace rft::testing
