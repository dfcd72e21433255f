#pragma once
/// What objectives on decisions (s, a, r, s') share.
#include "objective/columns.h"
#include "rft/core/experience.h"
#include "rft/objective/objective.h"

namespace rft::objective {

/// The columns of one micro-batch of transitions, [B, T], 0 where masked.
struct Transitions {
  Tensor mask;    ///< bool
  Tensor weight;  ///< the mask as numbers, in q's dtype
  Tensor reward;
  Tensor discount;   ///< what the next decision's worth counts: gamma to the power of the steps that this one lasted, 0
                     ///< where the episode ended by itself (not where time ran out)
  double decisions;  ///< of the whole optimizer batch, at least 1

  /// y [B, T] = reward + discount `after`, what is seen of a decision's worth and `after` [B, T], the next one's.
  Tensor target(const Tensor& after) const;
  /// x [B, T] in q's dtype, 0 where masked.
  Tensor column(const Tensor& x) const;
  /// x [B, T, ...] in q's dtype, 0 where masked.
  Tensor columns(const Tensor& x) const;
  /// The mean of x [B, T] over the optimizer batch's decisions.
  Tensor mean(const Tensor& x) const;
};

/// Throws RunError where `objective` gets a batch without rewards or extra::terminated.
/// `gamma`: of one step of the environment; a decision that lasts several (extra::duration n, a chunk of actions whose
/// rewards were discounted and added up) looks n steps ahead.
Transitions read_transitions(const Evaluation& now, const Experience& batch, double gamma, const char* objective);

/// now.extra's `name`, which `objective` was promised.
Tensor promised(const Evaluation& now, const char* name, const char* objective);

/// Adds to the metrics what the critics say of the batch, `q` [B, T, K], and of `target` [B, T].
void add_q_metrics(MetricSums& metrics, const Transitions& t, const Tensor& q, const Tensor& target);

}  // namespace rft::objective
