#include "rft/env/point_mass.h"

#include <algorithm>
#include <cmath>

#include "env/canvas.h"
#include "env/draws.h"

namespace rft {
namespace {

constexpr double kStep = 0.1, kSize = 0.1;

}  // namespace

void PointMass::Options::visit(OptionVisitor& v) {
  v.option("agents", agents, "points that move at the same time, by the same policy", at_least(1));
  v.option("max_steps", max_steps, "an episode's time limit", at_least(1).in("steps"));
  v.option("acceleration", acceleration, "of an action of 1", at_least(0).in("m/s^2"));
  v.option("drag", drag, "deceleration by the velocity", at_least(0).in("1/s"));
  v.option("control_cost", control_cost, "weight of the actions' squares", at_least(0));
  v.option("collision_cost", collision_cost, "for every other agent nearer than 0.2 m", at_least(0));
  v.option("shared_reward", shared_reward, "every agent is paid the mean of all");
}

PointMass::PointMass(Options options) : FlatWorld({}, static_cast<size_t>(6 * options.agents)), options_(options) {
  spec_.name = "point_mass", spec_.agents = options.agents, spec_.max_steps = options.max_steps;
  spec_.observation = 4 + 2 * (options.agents - 1);
  spec_.action.low = {-1, -1}, spec_.action.high = {1, 1};
}

void PointMass::place(Draws& draws) {
  for (int64_t i = 0; i < spec_.agents; ++i) {
    double* a = agent(i);
    a[0] = draws.uniform(-1, 1), a[1] = draws.uniform(-1, 1), a[2] = a[3] = 0;
    a[4] = draws.uniform(-1, 1), a[5] = draws.uniform(-1, 1);
  }
}

void PointMass::observe(std::span<double> out) const {
  double* to = out.data();
  for (int64_t i = 0; i < spec_.agents; ++i) {
    const double* a = agent(i);
    for (double x : {a[2], a[3], a[4] - a[0], a[5] - a[1]}) *to++ = x;
    for (int64_t j = 0; j < spec_.agents; ++j)
      if (j != i) *to++ = agent(j)[0] - a[0], *to++ = agent(j)[1] - a[1];
  }
}

bool PointMass::advance(std::span<const double> action, std::span<double> reward) {
  for (int64_t i = 0; i < spec_.agents; ++i) {
    double* a = agent(i);
    double cost = 0;
    for (int64_t k = 0; k < 2; ++k) {
      double u = std::clamp(action[static_cast<size_t>(2 * i + k)], -1.0, 1.0);
      a[2 + k] += kStep * (options_.acceleration * u - options_.drag * a[2 + k]);
      a[k] += kStep * a[2 + k];
      cost += u * u;
    }
    reward[static_cast<size_t>(i)] = -std::hypot(a[4] - a[0], a[5] - a[1]) - options_.control_cost * cost;
  }
  for (int64_t i = 0; i < spec_.agents; ++i)
    for (int64_t j = 0; j < spec_.agents; ++j)
      if (i != j && std::hypot(agent(i)[0] - agent(j)[0], agent(i)[1] - agent(j)[1]) < 2 * kSize)
        reward[static_cast<size_t>(i)] -= options_.collision_cost;
  if (!options_.shared_reward) return false;
  double sum = 0;
  for (double r : reward) sum += r;
  std::fill(reward.begin(), reward.end(), sum / static_cast<double>(spec_.agents));
  return false;
}

Tensor PointMass::render(int64_t height, int64_t width) const {
  Canvas canvas(height, width, {}, 1.4);
  for (int64_t i = 0; i < spec_.agents; ++i) {
    const double* a = agent(i);
    const Colour& colour = kPalette[i % 4];
    canvas.line({a[4] - 0.06, a[5] - 0.06}, {a[4] + 0.06, a[5] + 0.06}, 0.03, colour);
    canvas.line({a[4] - 0.06, a[5] + 0.06}, {a[4] + 0.06, a[5] - 0.06}, 0.03, colour);
    canvas.disc({a[0], a[1]}, kSize, colour);
  }
  return canvas.picture();
}

}  // namespace rft
