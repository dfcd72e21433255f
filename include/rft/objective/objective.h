#pragma once
/// The objective: what is minimised, from an Evaluation and an Experience alone; it never sees the policy.
#include <string>
#include <vector>

#include "rft/core/experience.h"
#include "rft/core/metrics.h"
#include "rft/core/parameter.h"
#include "rft/core/state.h"

namespace rft {

/// A loss as named terms; the trainer minimises their sum and reports each.
struct Loss {
  struct Term {
    std::string name;
    Tensor value;  ///< scalar, with gradient
    /// The groups of parameters that it trains; empty: all. A group that no term of a step trains is left as it is, its
    /// moments too.
    std::vector<std::string> trains = {};
  };
  std::vector<Term> terms;
  Metrics metrics;

  Loss() = default;
  explicit Loss(Tensor value) { terms.push_back({"loss", std::move(value)}); }
  /// The sum of all terms, scalar.
  Tensor total() const {
    Tensor sum = terms.at(0).value;
    for (size_t i = 1; i < terms.size(); ++i) sum = sum.add(terms[i].value);
    return sum;
  }
};

/// Called by the trainer on the training thread, once a micro-batch. Must be normalised by batch.totals (the whole
/// optimizer batch), so that the micro-batches' gradients add up to the whole batch's.
class Objective : public Stateful {
 public:
  /// What the trainer has to compute; constant over a run.
  virtual Needs needs() const = 0;
  /// The micro-batch's share of the loss. `now` carries the graph; nothing in `batch` does.
  virtual Loss loss(const Evaluation& now, const Experience& batch) const = 0;
  /// Called once before an optimizer batch's first loss() where needs().whole_batch, with the whole batch evaluated
  /// without gradients: for quantiles and other statistics that don't add up over micro-batches. Where only
  /// needs().mismatched, `now` is empty: what it asked for is in the batch's extra.
  virtual void observe(const Evaluation& now, const Experience& whole) { (void)now, (void)whole; }
  /// Parameters of its own that are trained with the policy's (a temperature); state() holds them too.
  virtual std::vector<Parameter> parameters() { return {}; }
  /// Called after every optimizer step with that step's metrics over the whole batch (adaptive coefficients).
  virtual void stepped(const Metrics& metrics) { (void)metrics; }
};

}  // namespace rft
