#include "rft/train/updater.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

#include <algorithm>
#include <cmath>

#include "rft/core/error.h"

namespace rft {
namespace {

/// "" where all terms are finite, else the term's name, its value and the rows of the batch.
std::string non_finite_term(const Loss& loss, int64_t first_row, int64_t rows) {
  for (const auto& term : loss.terms) {
    double value = term.value.item<double>();
    if (!std::isfinite(value))
      return cat("the loss term '", term.name, "' is ", value, " on rows ", first_row, " to ", first_row + rows - 1);
  }
  return "";
}

void add_mismatch(const Experience& micro, const Evaluation& now, Metrics& metrics) {
  auto difference = micro.logp.sub(now.logp.detach()).abs().masked_select(micro.mask);
  if (difference.numel() == 0) return;
  metrics.add("logp_mismatch", difference.mean().item<double>(), static_cast<double>(difference.numel()));
}

/// The whole batch evaluated without gradients, in the same micro-batches.
Evaluation evaluate_whole(Policy& policy, const Experience& batch, const Needs& needs, int64_t size) {
  at::NoGradGuard no_grad;
  std::vector<Tensor> logp, entropy;
  for (int64_t at = 0; at < batch.rows(); at += size) {
    auto now = policy.evaluate(batch.select(at::arange(at, std::min(at + size, batch.rows()))), needs);
    logp.push_back(now.logp), entropy.push_back(now.entropy);
  }
  Evaluation whole;
  whole.logp = concat_rows(logp);
  whole.entropy = concat_rows(entropy);
  return whole;
}

}  // namespace

UpdateResult update(Policy& policy, Objective& objective, Optimizer& optimizer, Experience& batch, const Needs& needs,
                    const UpdateOptions& options, Metrics& metrics) {
  batch.fill_totals();
  int64_t rows = batch.rows(), size = options.micro_batch_size > 0 ? std::min(options.micro_batch_size, rows) : rows;
  if (needs.whole_batch) objective.observe(evaluate_whole(policy, batch, needs, size), batch);
  optimizer.zero_grad();
  Metrics found;
  double total = 0;
  for (int64_t at = 0; at < rows; at += size) {
    int64_t count = std::min(size, rows - at);
    Experience micro = size == rows ? batch : batch.select(at::arange(at, at + count));
    Evaluation now = policy.evaluate(micro, needs);
    Loss loss = objective.loss(now, micro);
    if (auto problem = non_finite_term(loss, at, count); !problem.empty()) return {false, problem};
    auto sum = loss.total();
    total += sum.item<double>();
    if (sum.requires_grad()) sum.backward();
    if (options.compare_logp && micro.logp.defined()) add_mismatch(micro, now, found);
    found.merge(loss.metrics);
  }
  double norm = optimizer.grad_norm();
  if (!std::isfinite(norm)) return {false, cat("the gradient's norm is ", norm, " over rows 0 to ", rows - 1)};
  // PyTorch's clip_grad_norm_: the same 1e-6, so that a clipped step equals the peers'.
  if (options.max_grad_norm > 0) {
    double factor = options.max_grad_norm / (norm + 1e-6);
    if (factor < 1) optimizer.scale_grad(factor);
  }
  optimizer.step(options.lr);
  objective.stepped(found);
  metrics.merge(found);
  metrics.add("loss", total);
  metrics.add("grad_norm", norm);
  metrics.add("learning_rate", options.lr);
  return {};
}

}  // namespace rft
