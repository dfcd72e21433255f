#pragma once
/// Soft actor-critic (Haarnoja et al. 2018, arXiv:1812.05905; Stable-Baselines3's SAC), from decisions (s, a, r, s')
/// that any policy made. With K critics Q, slow copies Q', a ~ policy at s and a' ~ policy at s':
///   y = r + gamma (1 - terminated) (min_k Q'_k(s', a') - alpha log p(a'))
///   critic_loss      = mean 0.5 sum_k (Q_k(s, batch's action) - y)^2             trains the critics
///   actor_loss       = mean alpha log p(a) - min_k Q_k(s, a)                     trains the policy
///   temperature_loss = -log(alpha) mean (log p(a) + target_entropy)              trains alpha, where it is learned
/// Means are over the decisions of the whole optimizer batch that the mask keeps. Stable-Baselines3 steps the three one
/// after another; here they step together, from the same weights.
#include <optional>

#include "rft/core/options.h"
#include "rft/objective/objective.h"

namespace rft {

class Sac : public Objective {
 public:
  struct Options {
    double gamma = 0.99, tau = 0.005;
    int64_t critics = 2, target_every = 1;
    std::optional<double> temperature;
    double initial_temperature = 1;
    std::optional<double> target_entropy;
    bool backup_entropy = true;
    void visit(OptionVisitor& v);
  };
  explicit Sac(Options options);
  Needs needs() const override;
  Loss loss(const Evaluation& now, const Experience& batch) const override;
  std::vector<Parameter> parameters() override;
  State state() const override;
  void load_state(const State& state) override;

 private:
  Options options_;
  Tensor log_temperature_;  ///< [1]; a leaf where it is learned
};

/// Conservative Q-learning, calibrated (Kumar et al. 2020, arXiv:2006.04779; Nakamoto et al. 2023, arXiv:2303.05479):
/// Sac, and for offline data the critics are pushed down where the policy would go and up at the data,
///   conservative_loss = weight mean sum_k (t log sum_m exp((Q_k(s, a_m) - log p(a_m)) / t) - Q_k(s, batch's action)),
/// over actions a_m drawn uniformly, from the policy at s, and from the policy at s' (a third each; the
/// importance-sampled log-sum-exp of CQL(H), a sum over m).
/// Calibrated: Q of the policy's actions counts as at least the return that was seen from s on (extra::returns).
class CalQl : public Objective {
 public:
  struct Options : Sac::Options {
    double cql_weight = 5, cql_temperature = 1;
    int64_t cql_samples = 10;
    bool calibrated = true;
    Options() { backup_entropy = false; }
    void visit(OptionVisitor& v);
  };
  explicit CalQl(Options options) : options_(options), sac_(options) {}
  Needs needs() const override;
  Loss loss(const Evaluation& now, const Experience& batch) const override;
  std::vector<Parameter> parameters() override { return sac_.parameters(); }
  State state() const override { return sac_.state(); }
  void load_state(const State& state) override { sac_.load_state(state); }

 private:
  Options options_;
  Sac sac_;
};

}  // namespace rft
