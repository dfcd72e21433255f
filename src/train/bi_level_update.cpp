#include "rft/train/bi_level_update.h"

#include <ATen/ATen.h>

#include <functional>

#include "rft/core/error.h"

namespace rft {
namespace {

/// An objective's needs with another loss.
class OtherLoss : public Objective {
 public:
  using Of = std::function<Loss(const Evaluation&, const Experience&)>;
  OtherLoss(Objective& objective, Of loss) : objective_(objective), loss_(std::move(loss)) {}
  Needs needs() const override { return objective_.needs(); }
  Loss loss(const Evaluation& now, const Experience& batch) const override { return loss_(now, batch); }
  void observe(const Evaluation& now, const Experience& whole) override { objective_.observe(now, whole); }

 private:
  Objective& objective_;
  Of loss_;
};

}  // namespace

std::vector<double> outer_slopes(Policy& policy, Objective& objective, BiLevel& outer, Optimizer& optimizer,
                                 Experience& batch, Experience& second, const Needs& needs,
                                 const UpdateOptions& options, std::string& problem) {
  auto gradient_of = [&](const OtherLoss::Of& loss, Experience& rows) {
    OtherLoss other(objective, loss);
    Metrics unused;
    UpdateResult result = gradient(policy, other, optimizer, rows, needs, options, unused);
    if (!result.finite) problem = result.problem;
    return result.finite ? optimizer.gradient() : Tensor();
  };
  Tensor towards =
      gradient_of([&](const Evaluation& now, const Experience& rows) { return outer.outer_loss(now, rows); }, second);
  if (!towards.defined()) return {};
  towards = towards.clone();
  std::vector<double> out;
  for (int64_t k = 0; k < outer.outer_weights(); ++k) {
    Tensor own = gradient_of(
        [&](const Evaluation& now, const Experience& rows) { return outer.derivative(k, now, rows); }, batch);
    if (!own.defined()) return {};
    out.push_back(own.to(at::kDouble).dot(towards.to(at::kDouble)).item<double>());
  }
  return out;
}

}  // namespace rft
