#pragma once
/// DreamPRM (Cao et al. 2025, arXiv:2505.20241): a reward model of steps that is trained on several domains, each with
/// a weight that is learned on other rows.
///
///   loss = (1/N) sum_k w_k sum of domain k's steps (s(x) - y)^2
/// x = Evaluation::score [B, T] of the step that ends at a decision, y = extra::step_label in 0 .. 1, s the logistic
/// function; domain k is a row's text in the column `domain`. N = labelled steps of the whole optimizer batch
/// (totals.tokens, over ranks summed). Every meta_every steps the rows of `data.meta`, of any domain, are judged as
/// whole answers,
///   outer loss = the mean over them of (s(mean of their steps' x) - r)^2,  r = the label of the last step,
/// and a step of learning rate a from w_k + d would change that by -a d slope_k (see BiLevel), so w_k += meta_rate
/// slope_k; then negative weights become 0 and all are scaled to a mean of 1, as the authors' code scales them. (There
/// they are softplus of numbers that AdamW moves, after five unrolled steps.) Weights are state.
///
/// Metrics: accuracy, mean_reward (means over steps), weight/DOMAIN.
#include <string>
#include <vector>

#include "rft/core/options.h"
#include "rft/objective/bi_level.h"

namespace rft {

class DreamPrm : public Objective, public BiLevel {
 public:
  struct Options {
    std::string domain = "domain";
    std::vector<std::string> domains;
    double meta_rate = 1;
    int64_t meta_every = 5;
    void visit(OptionVisitor& v);
  };
  /// Throws UserError unless there are two different domains at least (or none yet: Recipe asks for them).
  explicit DreamPrm(Options options);

  Needs needs() const override;
  Loss loss(const Evaluation& now, const Experience& batch) const override;
  State state() const override;
  void load_state(const State& state) override;

  int64_t meta_every() const override { return options_.meta_every; }
  int64_t outer_weights() const override { return static_cast<int64_t>(options_.domains.size()); }
  Loss outer_loss(const Evaluation& now, const Experience& second) const override;
  Loss derivative(int64_t k, const Evaluation& now, const Experience& batch) const override;
  void learn_outer(const std::vector<double>& slopes) override;

  const std::vector<double>& weights() const { return weights_; }

 private:
  /// [B] int64: the number of each row's domain. Throws UserError naming one that is not among the domains.
  Tensor domains_of(const Experience& batch) const;

  Options options_;
  std::vector<double> weights_;
};

}  // namespace rft
