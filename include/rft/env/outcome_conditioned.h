#pragma once
/// What an outcome-conditioned GFlowNet is pre-trained in, without a reward, and fine-tuned in (OC-GFN, Pan et al.
/// 2024, arXiv:2310.03419): an environment that asks for the object that an episode shall make.
#include "rft/core/options.h"
#include "rft/env/environment.h"

namespace rft {

/// Around an environment of one agent that is Reversible and Makes objects. Observed is, before the choices that are
/// allowed, also the name of the object y that is asked for; zeros where none is. An episode that makes x is worth
/// R(x | y) = 1 where x = y or nothing was asked for, else 0: with `own_reward`, that times what the environment pays.
///
/// So one network learns what the paper needs. Asked for y it reaches y, and its flow F(s | y) is the share of y that
/// comes through s. Asked for nothing it makes every object equally often: it explores (the paper's GAFlowNet), and its
/// flow is the marginal sum_y F(s | y), from which fine-tuning to a reward goes on (asked: 0, own_reward: true).
class OutcomeConditioned : public EnvironmentWrapper {
 public:
  struct Options {
    double asked = 0.75;
    bool own_reward = false;
    void visit(OptionVisitor& v);
  };
  explicit OutcomeConditioned(Options options) : options_(options) {}
  /// Throws UserError where `inner` has several agents, does not name what it makes or can't be undone.
  std::unique_ptr<Environment> around(std::unique_ptr<Environment> inner) const override;

 private:
  Options options_;
};

}  // namespace rft
