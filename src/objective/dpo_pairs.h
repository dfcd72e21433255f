#pragma once
/// A batch of preferences as pairs of numbers, and the losses of a pair.
#include <string>

#include "objective/columns.h"
#include "rft/objective/dpo.h"

namespace rft::objective {

/// One number a pair, [pairs], in logp's dtype.
struct Pairs {
  Tensor chosen, rejected;                ///< w, l: summed log-probabilities, with gradient
  Tensor ref_chosen, ref_rejected;        ///< the same under the reference
  Tensor chosen_ratio, rejected_ratio;    ///< x, y
  Tensor chosen_tokens, rejected_tokens;  ///< tokens of each answer
  Tensor margin;                          ///< of the rewards, where a variant reads it; NaN where one is missing
};

/// Summed under `ld_alpha`, or as they are. Throws RunError where the rows are not even in number.
Pairs read_pairs(const Columns& c, const Dpo::Options& options);

/// [pairs]: the loss of each pair under a `variant` that looks at nothing else.
Tensor pair_loss(const std::string& variant, const Pairs& pairs, const Dpo::Options& options);

/// Whether `variant` needs Dpo::Whole.
bool beyond_pairs(const std::string& variant);
/// What this batch of pairs says of the whole, without gradient.
Dpo::Whole whole_of(const Pairs& pairs);
/// Scalar: these pairs' share of the sum over the whole batch's pairs of aot or aot_unpaired. The partners that are
/// other pairs' are held constant, each in its own micro-batch being the one with the gradient.
Tensor sorted_loss(const std::string& variant, const Pairs& pairs, const Dpo::Whole& whole,
                   const Dpo::Options& options);

}  // namespace rft::objective
