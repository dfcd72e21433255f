#pragma once
/// Objectives that learn numbers of their own from a second batch: bi-level optimisation.
#include <cstdint>
#include <vector>

#include "rft/objective/objective.h"

namespace rft {

/// Beside Objective, for those whose loss has outer weights w_k (a balance of two losses, the shares of domains) that
/// are chosen so that what is learned serves the rows of `data.meta`. A step of learning rate lr from weights that the
/// k-th is larger in by d changes the loss on those rows by -lr d slope_k to first order in lr, with slope_k =
/// <gradient of outer_loss, gradient of derivative(k)>: one step of the unrolled lower problem (Liu et al. 2019, DARTS,
/// arXiv:1806.09055, with the gradients taken where the step begins). Called by the trainer on the training thread.
class BiLevel {
 public:
  virtual ~BiLevel() = default;
  /// Optimizer steps from one look at the second batch to the next; the first is at step 1.
  virtual int64_t meta_every() const = 0;
  virtual int64_t outer_weights() const = 0;
  /// The micro-batch's share of what the second batch is judged by, normalised as loss() is.
  virtual Loss outer_loss(const Evaluation& now, const Experience& second) const = 0;
  /// The derivative of loss() in the `k`-th outer weight, as one term.
  virtual Loss derivative(int64_t k, const Evaluation& now, const Experience& batch) const = 0;
  /// Takes what was found; slopes [outer_weights()].
  virtual void learn_outer(const std::vector<double>& slopes) = 0;
};

}  // namespace rft
