#pragma once
/// Help that a policy has while it learns and not afterwards: a curriculum of privileged actions (Mao et al. 2025,
/// "Learning Long-Horizon Robot Manipulation Skills via Privileged Action", arXiv:2502.15442).
#include "rft/core/options.h"
#include "rft/env/environment.h"

namespace rft {

/// Around an environment of one agent that can be Assisted and whose actions are numbers. An action is the
/// environment's, followed by a virtual force whose numbers are within [-1, 1]. After n steps of all environments of
/// the run
///   left(n) = 1 up to hold_steps, then down a straight line to exactly 0 at hold_steps + anneal_steps and after,
/// the environment is helped by left(n) * force times the virtual force, and its constraints give way by left(n) *
/// slack. Every step is charged force_cost * left(n) * the mean square of the virtual force. Evaluations, `rft act` and
/// whoever does not call progress() have left = 0: the environment itself, whatever the virtual force says.
class PrivilegedActions : public EnvironmentWrapper {
 public:
  struct Options {
    double force = 1, slack = 0, force_cost = 0;
    int64_t hold_steps = 0, anneal_steps = 0;
    void visit(OptionVisitor& v);
  };
  explicit PrivilegedActions(Options options) : options_(options) {}
  /// Throws UserError where `inner` has several agents, can't be helped, or has actions that are choices.
  std::unique_ptr<Environment> around(std::unique_ptr<Environment> inner) const override;

 private:
  Options options_;
};

}  // namespace rft
