#pragma once
/// Drivers who show how a crossing is driven over, not all of them well.
#include <cstdint>
#include <string>

namespace rft::app {

struct DrivingArguments {
  std::string out;
  int64_t seed = 0, episodes = 5000, vehicles = 4, steps = 8;
  double careless = 0.5;  ///< share of the drivers who give way to nobody
};

/// Writes trajectories.jsonl, episodes of the environment `driving` as `rft act` writes them. A driver keeps to his
/// lane, turns towards his goal, wants a speed of his own and, unless he is careless, gives way to whom he would come
/// too near to and who is nearer to the crossing.
void write_driving(const DrivingArguments& arguments);

}  // namespace rft::app
