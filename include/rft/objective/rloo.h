#pragma once
/// RLOO (Ahmadian et al. 2024, arXiv:2402.14740), as TRL 1.16's RLOOTrainer: a whole answer is one action.
///
///   r_i = exp(sum_t m (logp - old_logp));  loss = (1/R) sum_i -min(r_i A_i, clip(r_i, 1 - clip_low, 1 + clip_high)
///   A_i)
/// R = rows of the whole optimizer batch over all ranks; A_i = the row's mean advantage (credit leave_one_out, which
/// also puts the KL into the reward). The mask excludes prompt, padding and tool output. A row without tokens adds
/// nothing. Metrics, means over rows: clip_ratio/{low,high,region}_mean; entropy over tokens, where it was computed.
#include <optional>

#include "rft/core/options.h"
#include "rft/objective/objective.h"

namespace rft {

class Rloo : public Objective {
 public:
  struct Options {
    double clip_low = 0.2;
    std::optional<double> clip_high;
    void visit(OptionVisitor& v);
  };
  explicit Rloo(Options options) : options_(options) {}
  Needs needs() const override;
  Loss loss(const Evaluation& now, const Experience& batch) const override;

 private:
  Options options_;
};

}  // namespace rft
