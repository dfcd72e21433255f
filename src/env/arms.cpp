// Reacher, Pusher and InvertedPendulum as Gymnasium's v5 has them.
#include <algorithm>
#include <cmath>

#include "env/draws.h"
#include "env/simulation.h"
#include "env/task_options.h"
#include "rft/env/robots.h"

namespace rft {
namespace {

double distance(std::span<const double> a, std::span<const double> b) {
  double sum = 0;
  for (size_t i = 0; i < a.size(); ++i) sum += (a[i] - b[i]) * (a[i] - b[i]);
  return std::sqrt(sum);
}

double effort(std::span<const double> action) {
  double sum = 0;
  for (double a : action) sum += a * a;
  return sum;
}

}  // namespace

void InvertedPendulum::Options::visit(OptionVisitor& v) {
  task_options(v, model, frame_skip);
  v.option("reset_noise_scale", reset_noise_scale, "how far the start varies", at_least(0));
}

InvertedPendulum::InvertedPendulum(Options options)
    : Robot("inverted_pendulum", options.model, options.frame_skip, 1000, 2), options_(std::move(options)) {
  set_observation(static_cast<int64_t>(simulation().qpos().size() + simulation().qvel().size()));
}

void InvertedPendulum::place(Draws& draws) {
  double scale = options_.reset_noise_scale;
  for (double& q : simulation().qpos()) q += draws.uniform(-scale, scale);
  for (double& v : simulation().qvel()) v += draws.uniform(-scale, scale);
}

void InvertedPendulum::observe(std::span<double> out) const {
  auto qpos = simulation().qpos(), qvel = simulation().qvel();
  std::copy(qvel.begin(), qvel.end(), std::copy(qpos.begin(), qpos.end(), out.begin()));
}

Robot::Outcome InvertedPendulum::judge(double, std::span<const double>) const {
  bool fallen = std::abs(simulation().qpos()[1]) > 0.2;
  return {fallen ? 0.0 : 1.0, fallen};
}

void Reacher::Options::visit(OptionVisitor& v) {
  task_options(v, model, frame_skip);
  v.option("reward_dist_weight", reward_dist_weight, "weight of the distance to the target, in metres");
  v.option("reward_control_weight", reward_control_weight, "weight of the actions' squares");
}

Reacher::Reacher(Options options)
    : Robot("reacher", options.model, options.frame_skip, 50, 4),
      options_(std::move(options)),
      fingertip_(simulation().body("fingertip")),
      target_(simulation().body("target")) {
  set_observation(10);
}

void Reacher::place(Draws& draws) {
  auto qpos = simulation().qpos(), qvel = simulation().qvel();
  for (double& q : qpos) q += draws.uniform(-0.1, 0.1);
  double x, y;
  do x = draws.uniform(-0.2, 0.2), y = draws.uniform(-0.2, 0.2);
  while (std::hypot(x, y) >= 0.2);
  qpos[qpos.size() - 2] = x, qpos[qpos.size() - 1] = y;
  for (double& v : qvel.first(qvel.size() - 2)) v += draws.uniform(-0.005, 0.005);
  qvel[qvel.size() - 2] = qvel[qvel.size() - 1] = 0;
}

void Reacher::observe(std::span<double> out) const {
  auto qpos = simulation().qpos(), qvel = simulation().qvel();
  auto finger = simulation().position(fingertip_), target = simulation().position(target_);
  const double values[] = {
      std::cos(qpos[0]), std::cos(qpos[1]), std::sin(qpos[0]), std::sin(qpos[1]),     qpos[2],
      qpos[3],           qvel[0],           qvel[1],           finger[0] - target[0], finger[1] - target[1]};
  std::copy(std::begin(values), std::end(values), out.begin());
}

Robot::Outcome Reacher::judge(double, std::span<const double> action) const {
  double far = distance(simulation().position(fingertip_), simulation().position(target_));
  return {-far * options_.reward_dist_weight - effort(action) * options_.reward_control_weight, false};
}

void Pusher::Options::visit(OptionVisitor& v) {
  task_options(v, model, frame_skip);
  v.option("reward_near_weight", reward_near_weight, "weight of the distance from the arm to the object, in metres");
  v.option("reward_dist_weight", reward_dist_weight, "weight of the distance from the object to the goal, in metres");
  v.option("reward_control_weight", reward_control_weight, "weight of the actions' squares");
}

Pusher::Pusher(Options options)
    : Robot("pusher", options.model, options.frame_skip, 100, 11),
      options_(std::move(options)),
      tips_(simulation().body("tips_arm")),
      object_(simulation().body("object")),
      goal_(simulation().body("goal")) {
  set_observation(23);
}

void Pusher::place(Draws& draws) {
  auto qpos = simulation().qpos(), qvel = simulation().qvel();
  double x, y;
  do x = draws.uniform(-0.3, 0), y = draws.uniform(-0.2, 0.2);
  while (std::hypot(x, y) <= 0.17);
  size_t n = qpos.size();
  qpos[n - 4] = x, qpos[n - 3] = y, qpos[n - 2] = qpos[n - 1] = 0;
  for (double& v : qvel.first(qvel.size() - 4)) v += draws.uniform(-0.005, 0.005);
  for (double& v : qvel.last(4)) v = 0;
}

void Pusher::observe(std::span<double> out) const {
  auto to = std::copy_n(simulation().qpos().begin(), 7, out.begin());
  to = std::copy_n(simulation().qvel().begin(), 7, to);
  for (int64_t body : {tips_, object_, goal_}) to = std::copy_n(simulation().position(body).begin(), 3, to);
}

Robot::Outcome Pusher::judge(double, std::span<const double> action) const {
  auto at = [&](int64_t body) { return simulation().position(body); };
  double reward = -distance(at(object_), at(goal_)) * options_.reward_dist_weight;
  reward -= effort(action) * options_.reward_control_weight;
  return {reward - distance(at(object_), at(tips_)) * options_.reward_near_weight, false};
}

}  // namespace rft
