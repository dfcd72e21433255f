#pragma once
/// GMPO, geometric-mean policy optimisation (Zhao et al. 2025, arXiv:2507.20673), as TRL 1.16's GMPOTrainer.
///
///   d = logp - old_logp;  c = A > 0 ? min(d, clip_high) : max(d, -clip_low)     (clipping in log space)
///   loss = (1/R) sum_i [ -exp(sum_t m c / max(n_i, 1)) A_i + kl_weight mean_t k3 ]
/// R = rows of the whole optimizer batch over all ranks; A_i = the row's mean advantage. The mask excludes prompt,
/// padding and tool output; entropy_quantile leaves tokens of low entropy out of the geometric mean. A row without
/// tokens adds nothing. Metrics: kl, entropy, clip_ratio/{low,high,region}_mean.
#include <optional>

#include "rft/core/options.h"
#include "rft/objective/objective.h"

namespace rft {

class Gmpo : public Objective {
 public:
  struct Options {
    double clip_low = 0.4;
    std::optional<double> clip_high;
    double kl_weight = 0;
    double entropy_quantile = 1;
    void visit(OptionVisitor& v);
  };
  explicit Gmpo(Options options) : options_(options) {}
  Needs needs() const override;
  Loss loss(const Evaluation& now, const Experience& batch) const override;
  void observe(const Evaluation& now, const Experience& whole) override;
  void stepped(const Metrics& metrics) override;

 private:
  Options options_;
  std::optional<double> observed_threshold_;
};

}  // namespace rft
