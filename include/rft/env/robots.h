#pragma once
/// Gymnasium's MuJoCo tasks, version 5, in MuJoCo's C library: the same observations, rewards and ends. Options are
/// those of the tasks' constructors there. `model` is an XML file; a bare name is looked for among Gymnasium's.
#include <functional>
#include <memory>

#include "rft/core/options.h"
#include "rft/env/environment.h"

namespace rft {

class Draws;
class Simulation;

/// What all tasks share: a task says how an episode starts, what is observed and what a step is worth.
/// Help is a force on the model's first body (a runner's torso), [3] along x, y and z, of which 1 is the robot's
/// weight; and weights that are less by `slack`.
class Robot : public Environment, public Rendered, public Assisted {
 public:
  ~Robot() override;
  int64_t force_size() const override { return 3; }
  void assist(std::span<const double> force, double slack) override;
  const EnvironmentSpec& spec() const override { return spec_; }
  void reset(uint64_t seed, std::span<double> observation) override;
  bool step(std::span<const double> action, std::span<double> observation, std::span<double> reward) override;
  std::vector<double> state() const override;
  void set_state(const std::vector<double>& state) override;
  Tensor render(int64_t height, int64_t width) const override;
  /// Starts from these positions and velocities (for comparisons with other simulators).
  void reset_to(std::span<const double> qpos, std::span<const double> qvel, std::span<double> observation);

 protected:
  struct Outcome {
    double reward;
    bool terminated;
  };
  /// Throws UserError where the model has no actuator, or fewer than `positions` numbers in qpos or qvel.
  Robot(const std::string& name, const std::string& model, int64_t frame_skip, int64_t max_steps, size_t positions);
  /// To be called by a task's constructor, which knows how much it observes.
  void set_observation(int64_t size) { spec_.observation = size; }
  /// Changes qpos and qvel, which are those of the model, for a new episode.
  virtual void place(Draws& draws) = 0;
  virtual void observe(std::span<double> out) const = 0;
  /// Called before the simulation moves: what the reward will need of how things stood.
  virtual double before() const { return 0; }
  virtual Outcome judge(double before, std::span<const double> action) const = 0;

  Simulation& simulation() { return *simulation_; }
  const Simulation& simulation() const { return *simulation_; }

 private:
  EnvironmentSpec spec_;
  std::unique_ptr<Simulation> simulation_;
};

/// Keeps its balance on a moving cart.
class InvertedPendulum : public Robot {
 public:
  struct Options {
    std::string model = "inverted_pendulum.xml";
    int64_t frame_skip = 2;
    double reset_noise_scale = 0.01;
    void visit(OptionVisitor& v);
  };
  explicit InvertedPendulum(Options options);

 protected:
  void place(Draws& draws) override;
  void observe(std::span<double> out) const override;
  Outcome judge(double before, std::span<const double> action) const override;

 private:
  Options options_;
};

/// A two-jointed arm reaches for a point.
class Reacher : public Robot {
 public:
  struct Options {
    std::string model = "reacher.xml";
    int64_t frame_skip = 2;
    double reward_dist_weight = 1, reward_control_weight = 1;
    void visit(OptionVisitor& v);
  };
  explicit Reacher(Options options);

 protected:
  void place(Draws& draws) override;
  void observe(std::span<double> out) const override;
  Outcome judge(double before, std::span<const double> action) const override;

 private:
  Options options_;
  int64_t fingertip_, target_;
};

/// An arm pushes a cylinder to a place.
class Pusher : public Robot {
 public:
  struct Options {
    std::string model = "pusher_v5.xml";
    int64_t frame_skip = 5;
    double reward_near_weight = 0.5, reward_dist_weight = 1, reward_control_weight = 0.1;
    void visit(OptionVisitor& v);
  };
  explicit Pusher(Options options);

 protected:
  void place(Draws& draws) override;
  void observe(std::span<double> out) const override;
  Outcome judge(double before, std::span<const double> action) const override;

 private:
  Options options_;
  int64_t tips_, object_, goal_;
};

/// Runs, hops or walks in the plane: forward speed, the cost of torques, and staying healthy.
class Runner : public Robot {
 public:
  struct Options {
    std::string model;
    int64_t frame_skip = 4;
    double forward_reward_weight = 1, ctrl_cost_weight = 1e-3, healthy_reward = 1;
    bool terminate_when_unhealthy = true;
    std::vector<double> healthy_state_range, healthy_z_range, healthy_angle_range;
    double reset_noise_scale = 5e-3;
    bool exclude_current_positions_from_observation = true;
  };

 protected:
  Runner(const std::string& name, Options options);
  void place(Draws& draws) override;
  void observe(std::span<double> out) const override;
  double before() const override;
  Outcome judge(double before, std::span<const double> action) const override;
  virtual bool healthy() const;
  const Options& options() const { return options_; }

 private:
  Options options_;
};

class Hopper : public Runner {
 public:
  struct Options : Runner::Options {
    Options();
    void visit(OptionVisitor& v);
  };
  explicit Hopper(Options options) : Runner("hopper", options) {}
};

class Walker2d : public Runner {
 public:
  struct Options : Runner::Options {
    Options();
    void visit(OptionVisitor& v);
  };
  explicit Walker2d(Options options) : Runner("walker2d", options) {}
};

class HalfCheetah : public Runner {
 public:
  struct Options : Runner::Options {
    Options();
    void visit(OptionVisitor& v);
  };
  explicit HalfCheetah(Options options) : Runner("half_cheetah", options) {}

 protected:
  void place(Draws& draws) override;
  void observe(std::span<double> out) const override;
  bool healthy() const override { return true; }
};

/// A four-legged robot runs; contact forces are observed and cost.
class Ant : public Robot {
 public:
  struct Options {
    std::string model = "ant.xml";
    int64_t frame_skip = 5;
    double forward_reward_weight = 1, ctrl_cost_weight = 0.5, contact_cost_weight = 5e-4, healthy_reward = 1;
    int64_t main_body = 1;
    bool terminate_when_unhealthy = true;
    std::vector<double> healthy_z_range{0.2, 1.0}, contact_force_range{-1, 1};
    double reset_noise_scale = 0.1;
    bool exclude_current_positions_from_observation = true, include_cfrc_ext_in_observation = true;
    void visit(OptionVisitor& v);
  };
  explicit Ant(Options options);

 protected:
  void place(Draws& draws) override;
  void observe(std::span<double> out) const override;
  double before() const override;
  Outcome judge(double before, std::span<const double> action) const override;

 private:
  double force(double raw) const;
  Options options_;
};

}  // namespace rft
