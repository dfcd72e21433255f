#include "app/driving.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdio>
#include <nlohmann/json.hpp>
#include <numbers>
#include <vector>

#include "rft/core/error.h"
#include "rft/core/rng.h"
#include "rft/env/driving.h"
#include "rft/io/files.h"

namespace rft::app {
namespace {

constexpr size_t kSeen = Driving::seen;

struct Driver {
  double speed = 0;  ///< that he wants, m/s
  bool careless = false;
};

/// What one observes of a vehicle.
struct Seen {
  double x, y, c, s, speed, ahead_x, ahead_y, crashed;
  explicit Seen(const double* at)
      : x(at[0]), y(at[1]), c(at[2]), s(at[3]), speed(at[4]), ahead_x(at[5]), ahead_y(at[6]), crashed(at[7]) {}
};

/// Where to steer: straight on until the crossing begins, then to a point of the lane that leads to the goal.
std::array<double, 2> aim(const Seen& v) {
  double to_middle = -(v.x * v.c + v.y * v.s);  // along the heading
  double goal_x = v.x + v.ahead_x, goal_y = v.y + v.ahead_y;
  if (to_middle > 5) return {6 * v.c, 6 * v.s};
  bool along_x = std::abs(goal_x) > std::abs(goal_y);
  double out_x = along_x ? std::copysign(1.0, goal_x) : 0, out_y = along_x ? 0 : std::copysign(1.0, goal_y);
  double reach = std::clamp(v.x * out_x + v.y * out_y + 4, 4.0, 40.0);
  double lane_x = along_x ? 0 : goal_x, lane_y = along_x ? goal_y : 0;
  return {reach * out_x + lane_x - v.x, reach * out_y + lane_y - v.y};
}

/// Whether two who go on as they do come nearer to each other than is comfortable within two and a half seconds.
bool in_the_way(const Seen& a, const Seen& b) {
  for (double t = 0; t <= 2.5; t += 0.25) {
    double x = a.x + t * a.speed * a.c - b.x - t * b.speed * b.c, y = a.y + t * a.speed * a.s - b.y - t * b.speed * b.s;
    if (std::hypot(x, y) < 4.5) return true;
  }
  return false;
}

/// Acceleration and yaw rate in [-1, 1] of vehicle i.
std::array<double, 2> drive(const std::vector<Seen>& all, size_t i, const Driver& driver) {
  const Seen& v = all[i];
  auto [dx, dy] = aim(v);
  double turn = std::atan2(v.c * dy - v.s * dx, v.c * dx + v.s * dy), distance = std::hypot(dx, dy);
  double wanted = std::abs(turn) > 0.3 ? std::min(driver.speed, 4.5) : driver.speed;
  for (size_t j = 0; j < all.size() && !driver.careless; ++j) {
    const Seen& other = all[j];
    bool first = std::hypot(other.x, other.y) < std::hypot(v.x, v.y);
    bool before_me = v.c * (other.x - v.x) + v.s * (other.y - v.y) > -1;
    if (j != i && before_me && (first || other.crashed != 0) && in_the_way(v, other)) wanted = 0;
  }
  double rate = 2 * std::max(v.speed, 1.0) * std::sin(turn) / std::max(distance, 1.0);
  return {std::clamp((wanted - v.speed) / Driving::step_seconds / Driving::acceleration, -1.0, 1.0),
          std::clamp(rate / Driving::yaw_rate, -1.0, 1.0)};
}

nlohmann::ordered_json episode(Driving& world, const DrivingArguments& arguments, uint64_t seed) {
  Rng rng(seed, 1);
  uint64_t draw = 0;
  std::vector<Driver> drivers;
  for (int64_t i = 0; i < arguments.vehicles; ++i) {
    double speed = 5 + 4 * rng.uniform(draw++);
    drivers.push_back({speed, rng.uniform(draw++) < arguments.careless});
  }
  std::vector<double> seen(static_cast<size_t>(world.spec().observation)), action(2 * drivers.size()), reward(1);
  nlohmann::json observations, actions, rewards;
  world.reset(seed, seen);
  for (int64_t t = 0; t < arguments.steps; ++t) {
    std::vector<Seen> all;
    for (size_t i = 0; i < drivers.size(); ++i) all.emplace_back(seen.data() + i * kSeen);
    for (size_t i = 0; i < drivers.size(); ++i) {
      auto control = drive(all, i, drivers[i]);
      for (size_t k = 0; k < 2; ++k)
        action[2 * i + k] = std::clamp(control[k] + 0.1 * (rng.uniform(draw++) - 0.5), -1.0, 1.0);
    }
    observations.push_back(seen), actions.push_back(action);
    world.step(action, seen, reward);
    rewards.push_back(reward[0]);
  }
  observations.push_back(seen);
  return {{"observations", observations}, {"actions", actions}, {"rewards", rewards}, {"terminated", false}};
}

}  // namespace

void write_driving(const DrivingArguments& arguments) {
  Driving world({.vehicles = arguments.vehicles, .max_steps = arguments.steps});
  std::string lines;
  double sum = 0, crashed = 0;
  for (int64_t e = 0; e < arguments.episodes; ++e) {
    auto one = episode(world, arguments, mix(static_cast<uint64_t>(arguments.seed), static_cast<uint64_t>(e)));
    for (double reward : one["rewards"]) sum += reward;
    for (size_t i = 0; i < static_cast<size_t>(arguments.vehicles); ++i)
      crashed += one["observations"].back()[i * kSeen + 7].get<double>();
    lines += one.dump() + "\n";
  }
  make_directories(arguments.out);
  write_text(arguments.out + "/trajectories.jsonl", lines);
  auto count = static_cast<double>(arguments.episodes);
  std::printf("%s: %lld scenes of %lld vehicles; mean return %.3f, %.1f %% of the vehicles crash\n",
              arguments.out.c_str(), static_cast<long long>(arguments.episodes),
              static_cast<long long>(arguments.vehicles), sum / count,
              100 * crashed / count / static_cast<double>(arguments.vehicles));
}

}  // namespace rft::app
