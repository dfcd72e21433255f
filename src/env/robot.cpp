#include <cmath>

#include "env/draws.h"
#include "env/simulation.h"
#include "rft/core/error.h"
#include "rft/env/robots.h"

namespace rft {

Robot::Robot(const std::string& name, const std::string& model, int64_t frame_skip, int64_t max_steps, size_t positions)
    : simulation_(std::make_unique<Simulation>(model, frame_skip)) {
  size_t has = std::min(simulation_->qpos().size(), simulation_->qvel().size());
  if (simulation_->actuators() == 0 || has < positions)
    bad_input(model, "this is not a robot for ", name, ", which needs actuators and ", positions,
              " positions; the model has ", simulation_->actuators(), " and ", has);
  spec_.name = name, spec_.max_steps = max_steps;
  for (int64_t i = 0; i < simulation_->actuators(); ++i) {
    spec_.action.low.push_back(simulation_->low(i));
    spec_.action.high.push_back(simulation_->high(i));
  }
}
Robot::~Robot() = default;

void Robot::reset(uint64_t seed, std::span<double> observation) {
  simulation_->reset();
  Draws draws(seed);
  place(draws);
  simulation_->forward();
  observe(observation);
}

void Robot::reset_to(std::span<const double> qpos, std::span<const double> qvel, std::span<double> observation) {
  simulation_->reset();
  std::copy(qpos.begin(), qpos.end(), simulation_->qpos().begin());
  std::copy(qvel.begin(), qvel.end(), simulation_->qvel().begin());
  simulation_->forward();
  observe(observation);
}

void Robot::assist(std::span<const double> force, double slack) { simulation_->assist(force, slack); }

bool Robot::step(std::span<const double> action, std::span<double> observation, std::span<double> reward) {
  double start = before();
  simulation_->step(action);
  observe(observation);
  for (size_t i = 0; i < observation.size(); ++i)
    if (!std::isfinite(observation[i])) run_failed(spec_.name, "observation ", i, " is ", observation[i]);
  Outcome outcome = judge(start, action);
  reward[0] = outcome.reward;
  return outcome.terminated;
}

Tensor Robot::render(int64_t height, int64_t width) const { return simulation_->render(height, width); }
std::vector<double> Robot::state() const { return simulation_->state(); }
void Robot::set_state(const std::vector<double>& state) { simulation_->set_state(state); }

}  // namespace rft
