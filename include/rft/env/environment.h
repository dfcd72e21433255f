#pragma once
/// Environment: a world that answers actions with observations and rewards.
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "rft/core/action_space.h"
#include "rft/core/tensor.h"

namespace rft {

/// One world. Made by the registry, owned by the runner; one thread at a time calls it, always the same way: reset(),
/// then step() until it ends. What happens depends on the seed of the last reset() and the actions alone. An agent's
/// numbers stand together, agent after agent. reset() and step() allocate nothing.
class Environment {
 public:
  virtual ~Environment() = default;
  virtual const EnvironmentSpec& spec() const = 0;
  /// Starts an episode and writes the first observations [agents * observation].
  virtual void reset(uint64_t seed, std::span<double> observation) = 0;
  /// Acts; writes the observations [agents * observation] and the rewards [agents]. Returns whether the episode has
  /// ended (terminated; time limits are not the environment's). `action` [agents * action.size()] is as the policy
  /// gave it: the environment clips to the bounds where its physics does. Throws RunError where the simulation broke
  /// down (a NaN); the episode is dropped then.
  virtual bool step(std::span<const double> action, std::span<double> observation, std::span<double> reward) = 0;
  /// Everything that the rest of the episode depends on, the seed's random numbers included; an environment that
  /// set_state() put there goes on as this one would, bit for bit. The size may differ from episode to episode.
  virtual std::vector<double> state() const = 0;
  /// Throws UserError where `state` is not one of this kind of environment.
  virtual void set_state(const std::vector<double>& state) = 0;
  /// Itself, or what it is wrapped around: the world that can be looked at.
  virtual const Environment& unwrapped() const { return *this; }
};

/// An environment that can show itself.
class Rendered {
 public:
  virtual ~Rendered() = default;
  /// What the world looks like now, [3, height, width] float32 in [0, 1].
  virtual Tensor render(int64_t height, int64_t width) const = 0;
};

/// An environment whose steps can be undone in several ways, as a GFlowNet's must be (Bengio et al. 2021).
class Reversible {
 public:
  virtual ~Reversible() = default;
  /// Log-probability, nats, of undoing the last step() as it was done, where all ways back are equally likely.
  virtual double backward_logp() const = 0;
};

/// An environment whose episodes make an object that can be named.
class Makes {
 public:
  virtual ~Makes() = default;
  /// Numbers of a name. No object's are all 0.
  virtual int64_t name_size() const = 0;
  /// Writes the name [name_size()] of the object as it stands now; after an episode's end, of what was made.
  virtual void name_made(std::span<double> name) const = 0;
  /// Writes the name of an object that an episode can make; every one is equally likely over the seeds.
  virtual void name_any(uint64_t seed, std::span<double> name) const = 0;
};

/// An environment that asks for an outcome, and can tell what to write into the record of an episode so that it is one
/// in which what came of it had been asked for (hindsight experience replay, Andrychowicz et al. 2017,
/// arXiv:1707.01495).
class Conditioned {
 public:
  virtual ~Conditioned() = default;
  struct Hindsight {
    int64_t first = 0;            ///< number of an observation from which on
    std::vector<double> outcome;  ///< these stand in every observation,
    double reward = 0;            ///< and what the episode's last step is worth then
  };
  /// Of the episode that has just ended; nothing where no outcome was asked for.
  virtual std::optional<Hindsight> hindsight() const = 0;
};

/// An environment in which a policy can be helped while it learns, beyond what it will be able to do (privileged
/// actions, Mao et al. 2025, arXiv:2502.15442).
class Assisted {
 public:
  virtual ~Assisted() = default;
  /// Numbers of a virtual force.
  virtual int64_t force_size() const = 0;
  /// Of every step() from now on: `force` [force_size()] acts beside the agent's actions, in units that the
  /// environment says, and what constrains the task gives way by `slack`, from 0 (nothing) to 1 (all of it). With zeros
  /// it is the task itself, bit for bit. Not part of state().
  virtual void assist(std::span<const double> force, double slack) = 0;
};

/// An environment that changes over a run.
class Annealed {
 public:
  virtual ~Annealed() = default;
  /// Says that so many steps were taken so far, in all environments of the run together; returns how much of the change
  /// is left, from 1 down to 0. An environment that is never told is as it will be at the end.
  virtual double progress(int64_t steps) = 0;
};

/// Makes another environment of one.
class EnvironmentWrapper {
 public:
  virtual ~EnvironmentWrapper() = default;
  /// Throws UserError where `inner` is not of a kind that it can be put around.
  virtual std::unique_ptr<Environment> around(std::unique_ptr<Environment> inner) const = 0;
};

}  // namespace rft
