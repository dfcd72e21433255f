#include "rft/env/driving.h"

#include <algorithm>
#include <cmath>
#include <numbers>
#include <utility>

#include "env/canvas.h"
#include "env/draws.h"

namespace rft {
namespace {

constexpr int64_t kParts = 5;  // that a step is moved in: fast vehicles must not pass through each other
constexpr double kTopSpeed = 12;
constexpr double kLane = 2;                 // from the middle of the road to that of a lane, metres
constexpr double kRoad = 4;                 // half a road's width
constexpr double kGoal = 15;                // from the crossing's middle to a goal
constexpr double kHalf = 1.2, kRadius = 1;  // a vehicle is two discs, so far from its middle
constexpr double kFar = 10;                 // gaps are not told apart beyond
constexpr int64_t kNumbers = 7, kTrail = 16;
constexpr Colour kRoadColour = {0.88f, 0.88f, 0.88f}, kCrashed = {0.1f, 0.1f, 0.1f};

/// On the right of who goes along `angle`, `ahead` metres from the crossing's middle.
Point on_lane(double angle, double ahead) {
  double c = std::cos(angle), s = std::sin(angle);
  return {ahead * c + kLane * s, ahead * s - kLane * c};
}

Colour paler(const Colour& colour) {
  return {0.45f + 0.55f * colour[0], 0.45f + 0.55f * colour[1], 0.45f + 0.55f * colour[2]};
}

}  // namespace

void Driving::Options::visit(OptionVisitor& v) {
  v.option("vehicles", vehicles, "that meet at the crossing, each from an arm of its own", between(1, 4));
  v.option("max_steps", max_steps, "an episode's time limit, of half a second each", at_least(1).in("steps"));
  v.option("progress_weight", progress_weight, "of a metre nearer to the goal, a mean over the vehicles", at_least(0));
  v.option("collision_cost", collision_cost, "of a crash, times the share of the vehicles that it stops", at_least(0));
  v.option("off_road_cost", off_road_cost, "of a step, times the share of the vehicles that are off the road",
           at_least(0));
}

Driving::Driving(Options options)
    : FlatWorld({}, static_cast<size_t>(1 + options.vehicles * (kNumbers + 2 * kTrail))), options_(options) {
  const int64_t N = options.vehicles;
  spec_.name = "driving", spec_.agents = 1, spec_.max_steps = options.max_steps;
  spec_.observation = N * seen + N * (N - 1) / 2;
  spec_.action.low.assign(static_cast<size_t>(2 * N), -1), spec_.action.high.assign(static_cast<size_t>(2 * N), 1);
}

Driving::Vehicle Driving::vehicle(int64_t i) const {
  const double* a = now_.data() + i * kNumbers;
  return {a[0], a[1], a[2], a[3], a[4], a[5], a[6]};
}

void Driving::set(int64_t i, const Vehicle& v) {
  double* a = now_.data() + i * kNumbers;
  for (double x : {v.x, v.y, v.heading, v.speed, v.goal_x, v.goal_y, v.crashed}) *a++ = x;
}

/// Where vehicle i was k steps after the first that is kept.
const double* Driving::trail(int64_t i, int64_t k) const {
  return now_.data() + options_.vehicles * kNumbers + 1 + 2 * (i * kTrail + k);
}
double* Driving::trail(int64_t i, int64_t k) { return const_cast<double*>(std::as_const(*this).trail(i, k)); }

void Driving::place(Draws& draws) {
  std::fill(now_.begin(), now_.end(), 0.0);
  int64_t first = draws.below(4);
  for (int64_t i = 0; i < options_.vehicles; ++i) {
    int64_t from = (first + i) % 4, to = (from + 1 + draws.below(3)) % 4;
    double quarter = 0.5 * std::numbers::pi, heading = quarter * static_cast<double>(from) + std::numbers::pi;
    Point start = on_lane(heading, -draws.uniform(10, 20)), goal = on_lane(quarter * static_cast<double>(to), kGoal);
    set(i, {start.x, start.y, heading, draws.uniform(4, 8), goal.x, goal.y, 0});
  }
  remember();
}

void Driving::remember() {
  double& kept = now_[static_cast<size_t>(options_.vehicles * kNumbers)];
  auto place = static_cast<int64_t>(kept);
  for (int64_t i = 0; i < options_.vehicles; ++i) {
    if (place == kTrail) std::copy(trail(i, 1), trail(i, 0) + 2 * kTrail, trail(i, 0));
    double* to = trail(i, std::min(place, kTrail - 1));
    to[0] = vehicle(i).x, to[1] = vehicle(i).y;
  }
  kept = static_cast<double>(std::min(place + 1, kTrail));
}

/// Metres between two vehicles' outlines; below 0 where they overlap.
double Driving::gap(int64_t i, int64_t j) const {
  Vehicle a = vehicle(i), b = vehicle(j);
  double least = 1e9;
  for (double s : {-kHalf, kHalf})
    for (double t : {-kHalf, kHalf})
      least = std::min(least, std::hypot(a.x + s * std::cos(a.heading) - b.x - t * std::cos(b.heading),
                                         a.y + s * std::sin(a.heading) - b.y - t * std::sin(b.heading)));
  return least - 2 * kRadius;
}

void Driving::observe(std::span<double> out) const {
  double* to = out.data();
  for (int64_t i = 0; i < options_.vehicles; ++i) {
    Vehicle v = vehicle(i);
    for (double x :
         {v.x, v.y, std::cos(v.heading), std::sin(v.heading), v.speed, v.goal_x - v.x, v.goal_y - v.y, v.crashed})
      *to++ = x;
  }
  for (int64_t i = 0; i < options_.vehicles; ++i)
    for (int64_t j = 0; j < i; ++j) *to++ = std::min(gap(i, j), kFar);
}

void Driving::move(std::span<const double> action, double seconds) {
  for (int64_t i = 0; i < options_.vehicles; ++i) {
    Vehicle v = vehicle(i);
    if (v.crashed != 0) continue;
    auto control = [&](int64_t k) { return std::clamp(action[static_cast<size_t>(2 * i + k)], -1.0, 1.0); };
    v.speed = std::clamp(v.speed + seconds * acceleration * control(0), 0.0, kTopSpeed);
    v.heading += seconds * yaw_rate * control(1);
    v.x += seconds * v.speed * std::cos(v.heading), v.y += seconds * v.speed * std::sin(v.heading);
    set(i, v);
  }
}

/// Stops vehicles that touch; how many were still going.
double Driving::crash() {
  std::vector<bool> touched(static_cast<size_t>(options_.vehicles));
  for (int64_t i = 0; i < options_.vehicles; ++i)
    for (int64_t j = 0; j < i; ++j)
      if (gap(i, j) < 0) touched[static_cast<size_t>(i)] = touched[static_cast<size_t>(j)] = true;
  double stopped = 0;
  for (int64_t i = 0; i < options_.vehicles; ++i) {
    Vehicle v = vehicle(i);
    if (!touched[static_cast<size_t>(i)] || v.crashed != 0) continue;
    v.crashed = 1, v.speed = 0, ++stopped;
    set(i, v);
  }
  return stopped;
}

bool Driving::advance(std::span<const double> action, std::span<double> reward) {
  auto left = [&] {
    double sum = 0;
    for (int64_t i = 0; i < options_.vehicles; ++i)
      sum += std::hypot(vehicle(i).goal_x - vehicle(i).x, vehicle(i).goal_y - vehicle(i).y);
    return sum;
  };
  double before = left(), crashed = 0, off = 0;
  for (int64_t part = 0; part < kParts; ++part) {
    move(action, step_seconds / static_cast<double>(kParts));
    crashed += crash();
  }
  for (int64_t i = 0; i < options_.vehicles; ++i)
    off += std::min(std::abs(vehicle(i).x), std::abs(vehicle(i).y)) > kRoad;
  remember();
  reward[0] = (options_.progress_weight * (before - left()) - options_.collision_cost * crashed -
               options_.off_road_cost * off) /
              static_cast<double>(options_.vehicles);
  return false;
}

Tensor Driving::render(int64_t height, int64_t width) const {
  constexpr double kView = 22;
  Canvas canvas(height, width, {}, kView);
  canvas.box({-2 * kView, -kRoad}, {2 * kView, kRoad}, kRoadColour);
  canvas.box({-kRoad, -2 * kView}, {kRoad, 2 * kView}, kRoadColour);
  auto kept = static_cast<int64_t>(now_[static_cast<size_t>(options_.vehicles * kNumbers)]);
  for (int64_t i = 0; i < options_.vehicles; ++i) {
    const double* at = trail(i, 0);
    for (int64_t k = 0; k + 1 < kept; ++k)
      canvas.line({at[2 * k], at[2 * k + 1]}, {at[2 * k + 2], at[2 * k + 3]}, 0.5, paler(kPalette[i]));
  }
  for (int64_t i = 0; i < options_.vehicles; ++i) {
    Vehicle v = vehicle(i);
    canvas.disc({v.goal_x, v.goal_y}, 0.6, kPalette[i]);
    double c = kHalf * std::cos(v.heading), s = kHalf * std::sin(v.heading);
    canvas.line({v.x - c, v.y - s}, {v.x + c, v.y + s}, 2 * kRadius, kPalette[i]);
    if (v.crashed != 0) canvas.disc({v.x, v.y}, 0.5 * kRadius, kCrashed);
  }
  return canvas.picture();
}

}  // namespace rft
