// Hopper (Erez et al. 2011), Walker2d and HalfCheetah (Wawrzynski 2009), Ant (Schulman et al. 2016) as Gymnasium's v5
// has them.
#include <algorithm>
#include <cmath>
#include <limits>

#include "env/draws.h"
#include "env/simulation.h"
#include "env/task_options.h"
#include "rft/core/error.h"
#include "rft/env/robots.h"

namespace rft {
namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();

void check_range(const std::string& where, const char* name, const std::vector<double>& range) {
  if (range.empty() || (range.size() == 2 && range[0] < range[1])) return;
  bad_input(where, name, " must be [low, high] with low below high, or empty; got ", range.size(), " numbers");
}

bool inside(double x, const std::vector<double>& range) { return range.empty() || (range[0] < x && x < range[1]); }

void walker_options(OptionVisitor& v, Runner::Options& o) {
  task_options(v, o.model, o.frame_skip);
  v.option("forward_reward_weight", o.forward_reward_weight, "weight of the forward speed, in m/s");
  v.option("ctrl_cost_weight", o.ctrl_cost_weight, "weight of the actions' squares");
  v.option("reset_noise_scale", o.reset_noise_scale, "how far the start varies", at_least(0));
  v.option("exclude_current_positions_from_observation", o.exclude_current_positions_from_observation,
           "don't observe how far it has come");
}

void healthy_options(OptionVisitor& v, Runner::Options& o) {
  v.option("healthy_reward", o.healthy_reward, "for every healthy step");
  v.option("terminate_when_unhealthy", o.terminate_when_unhealthy, "end the episode then");
  v.option("healthy_z_range", o.healthy_z_range, "[low, high] height of a healthy torso; empty = any", unit("metres"));
  v.option("healthy_angle_range", o.healthy_angle_range, "[low, high] angle of a healthy torso; empty = any",
           unit("radians"));
}

}  // namespace

Runner::Runner(const std::string& name, Options options)
    : Robot(name, options.model, options.frame_skip, 1000, 3), options_(std::move(options)) {
  check_range(name, "healthy_state_range", options_.healthy_state_range);
  check_range(name, "healthy_z_range", options_.healthy_z_range);
  check_range(name, "healthy_angle_range", options_.healthy_angle_range);
  auto size = static_cast<int64_t>(simulation().qpos().size() + simulation().qvel().size());
  set_observation(size - (options_.exclude_current_positions_from_observation ? 1 : 0));
}

void Runner::place(Draws& draws) {
  double scale = options_.reset_noise_scale;
  for (double& q : simulation().qpos()) q += draws.uniform(-scale, scale);
  for (double& v : simulation().qvel()) v += draws.uniform(-scale, scale);
}

void Runner::observe(std::span<double> out) const {
  auto qpos = simulation().qpos(), qvel = simulation().qvel();
  auto to =
      std::copy(qpos.begin() + (options_.exclude_current_positions_from_observation ? 1 : 0), qpos.end(), out.begin());
  std::transform(qvel.begin(), qvel.end(), to, [](double v) { return std::clamp(v, -10.0, 10.0); });
}

double Runner::before() const { return simulation().qpos()[0]; }

bool Runner::healthy() const {
  auto qpos = simulation().qpos(), qvel = simulation().qvel();
  auto in_range = [&](double x) { return inside(x, options_.healthy_state_range); };
  return inside(qpos[1], options_.healthy_z_range) && inside(qpos[2], options_.healthy_angle_range) &&
         std::all_of(qpos.begin() + 2, qpos.end(), in_range) && std::all_of(qvel.begin(), qvel.end(), in_range);
}

Robot::Outcome Runner::judge(double before, std::span<const double> action) const {
  double speed = (simulation().qpos()[0] - before) / simulation().dt(), effort = 0;
  for (double a : action) effort += a * a;
  bool well = healthy();
  double reward = options_.forward_reward_weight * speed + (well ? options_.healthy_reward : 0.0);
  return {reward - options_.ctrl_cost_weight * effort, !well && options_.terminate_when_unhealthy};
}

Hopper::Options::Options() {
  model = "hopper.xml";
  healthy_state_range = {-100, 100}, healthy_z_range = {0.7, kInfinity}, healthy_angle_range = {-0.2, 0.2};
}
void Hopper::Options::visit(OptionVisitor& v) {
  walker_options(v, *this), healthy_options(v, *this);
  v.option("healthy_state_range", healthy_state_range, "[low, high] of all other positions and speeds; empty = any");
}

Walker2d::Options::Options() {
  model = "walker2d_v5.xml";
  healthy_z_range = {0.8, 2.0}, healthy_angle_range = {-1.0, 1.0};
}
void Walker2d::Options::visit(OptionVisitor& v) { walker_options(v, *this), healthy_options(v, *this); }

HalfCheetah::Options::Options() {
  model = "half_cheetah.xml";
  frame_skip = 5, ctrl_cost_weight = 0.1, reset_noise_scale = 0.1, healthy_reward = 0;
}
void HalfCheetah::Options::visit(OptionVisitor& v) { walker_options(v, *this); }

void HalfCheetah::place(Draws& draws) {
  double scale = options().reset_noise_scale;
  for (double& q : simulation().qpos()) q += draws.uniform(-scale, scale);
  for (double& v : simulation().qvel()) v += scale * draws.normal();
}

void HalfCheetah::observe(std::span<double> out) const {
  auto qpos = simulation().qpos(), qvel = simulation().qvel();
  auto to =
      std::copy(qpos.begin() + (options().exclude_current_positions_from_observation ? 1 : 0), qpos.end(), out.begin());
  std::copy(qvel.begin(), qvel.end(), to);
}

void Ant::Options::visit(OptionVisitor& v) {
  task_options(v, model, frame_skip);
  v.option("forward_reward_weight", forward_reward_weight, "weight of the forward speed, in m/s");
  v.option("ctrl_cost_weight", ctrl_cost_weight, "weight of the actions' squares");
  v.option("contact_cost_weight", contact_cost_weight, "weight of the contact forces' squares");
  v.option("healthy_reward", healthy_reward, "for every healthy step");
  v.option("main_body", main_body, "the body whose speed is rewarded, by its number", at_least(0));
  v.option("terminate_when_unhealthy", terminate_when_unhealthy, "end the episode then");
  v.option("healthy_z_range", healthy_z_range, "[low, high] height of a healthy torso", unit("metres"));
  v.option("contact_force_range", contact_force_range, "[low, high]: contact forces are clipped to these");
  v.option("reset_noise_scale", reset_noise_scale, "how far the start varies", at_least(0));
  v.option("exclude_current_positions_from_observation", exclude_current_positions_from_observation,
           "don't observe how far it has come");
  v.option("include_cfrc_ext_in_observation", include_cfrc_ext_in_observation, "observe contact forces");
}

Ant::Ant(Options options) : Robot("ant", options.model, options.frame_skip, 1000, 6), options_(std::move(options)) {
  simulation().watch_contact_forces();
  for (const auto* range : {&options_.healthy_z_range, &options_.contact_force_range}) {
    check_range("ant", "healthy_z_range and contact_force_range", *range);
    if (range->empty()) bad_input("ant", "healthy_z_range and contact_force_range must be [low, high]; got []");
  }
  if (options_.main_body >= simulation().bodies())
    bad_input("ant", "main_body must be below ", simulation().bodies(), "; got ", options_.main_body);
  auto size = static_cast<int64_t>(simulation().qpos().size() + simulation().qvel().size());
  if (options_.exclude_current_positions_from_observation) size -= 2;
  if (options_.include_cfrc_ext_in_observation) size += 6 * (simulation().bodies() - 1);
  set_observation(size);
}

void Ant::place(Draws& draws) {
  double scale = options_.reset_noise_scale;
  for (double& q : simulation().qpos()) q += draws.uniform(-scale, scale);
  for (double& v : simulation().qvel()) v += scale * draws.normal();
}

double Ant::force(double raw) const {
  return std::clamp(raw, options_.contact_force_range[0], options_.contact_force_range[1]);
}

void Ant::observe(std::span<double> out) const {
  auto qpos = simulation().qpos(), qvel = simulation().qvel();
  auto to =
      std::copy(qpos.begin() + (options_.exclude_current_positions_from_observation ? 2 : 0), qpos.end(), out.begin());
  to = std::copy(qvel.begin(), qvel.end(), to);
  if (!options_.include_cfrc_ext_in_observation) return;
  auto forces = simulation().contact_forces().subspan(6);  // the world feels none
  std::transform(forces.begin(), forces.end(), to, [this](double f) { return force(f); });
}

double Ant::before() const { return simulation().position(options_.main_body)[0]; }

Robot::Outcome Ant::judge(double before, std::span<const double> action) const {
  double speed = (simulation().position(options_.main_body)[0] - before) / simulation().dt(), effort = 0, contact = 0;
  for (double a : action) effort += a * a;
  for (double f : simulation().contact_forces()) contact += force(f) * force(f);
  double z = simulation().qpos()[2];
  bool well = options_.healthy_z_range[0] <= z && z <= options_.healthy_z_range[1];
  double reward = speed * options_.forward_reward_weight + (well ? options_.healthy_reward : 0.0);
  reward -= options_.ctrl_cost_weight * effort + options_.contact_cost_weight * contact;
  return {reward, !well && options_.terminate_when_unhealthy};
}

}  // namespace rft
