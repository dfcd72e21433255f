#pragma once
/// AMFT (He et al. 2025, arXiv:2508.06944; withdrawn by its authors): imitation and reinforcement in one loss, whose
/// balance mu is learned.
///
///   loss = mu L_imitation + (1 - mu) L_grpo,   L_imitation = -(1 / N_given) sum m logp of the answers that the dataset
///   gave (rollout.given_answers; N_given their tokens in the whole optimizer batch, totals.given, over ranks summed),
///   L_grpo = Grpo's loss under its options, denominator and mask.
/// Every meta_every steps the gradient of L_grpo on a rollout of `data.meta`'s prompts says what mu is good for: one
/// step of learning rate a from mu + d raises the expected reward there by a d slope, slope = <grad L_grpo(meta), grad
/// (L_imitation - L_grpo)> (see BiLevel), so mu += meta_rate slope: the paper's meta-gradient, with a in meta_rate.
/// After every step mu += entropy_rate (H* - H), H the policy's mean entropy, nats, and H* entropy_aim or, unset, that
/// of the first step: imitation where exploration dies. mu stays in [imitation_min, imitation_max] and is state.
///
/// Metrics: Grpo's, imitation_nll (mean over the given tokens), amft/imitation (mu), amft/slope (the last one).
#include <optional>

#include "rft/objective/bi_level.h"
#include "rft/objective/grpo.h"

namespace rft {

class Amft : public Objective, public BiLevel {
 public:
  struct Options {
    Grpo::Options rl;
    double imitation = 0.5, imitation_min = 0.05, imitation_max = 0.95;
    double meta_rate = 0.1;
    int64_t meta_every = 5;
    double entropy_rate = 0;
    std::optional<double> entropy_aim;
    void visit(OptionVisitor& v);
  };
  /// Throws UserError where the options contradict each other.
  explicit Amft(Options options);

  Needs needs() const override;
  Loss loss(const Evaluation& now, const Experience& batch) const override;
  void observe(const Evaluation& now, const Experience& whole) override { rl_.observe(now, whole); }
  void stepped(const Metrics& metrics) override;
  State state() const override;
  void load_state(const State& state) override;

  int64_t meta_every() const override { return options_.meta_every; }
  int64_t outer_weights() const override { return 1; }
  Loss outer_loss(const Evaluation& now, const Experience& second) const override { return rl_.loss(now, second); }
  Loss derivative(int64_t k, const Evaluation& now, const Experience& batch) const override;
  void learn_outer(const std::vector<double>& slopes) override;

  double imitation() const { return imitation_; }

 private:
  void move(double by);

  Options options_;
  Grpo rl_;
  double imitation_, slope_ = 0;
  std::optional<double> entropy_aim_;
};

}  // namespace rft
