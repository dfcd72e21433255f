#include "rft/train/updater.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

#include <algorithm>
#include <cmath>
#include <set>

#include "rft/core/error.h"
#include "rft/core/extra.h"

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

/// Which rows are in memory together: of pairs both rows, and the rows of a group that an objective wants whole.
std::vector<Tensor> micro_batches(const Experience& batch, const Needs& needs, bool pairs, int64_t size) {
  int64_t count = pairs ? batch.rows() / 2 : batch.rows(), group = std::max<int64_t>(needs.group_size, 1);
  if (size <= 0 || size > count) size = count;
  size = std::max(size / group, int64_t{1}) * group;
  std::vector<Tensor> out;
  for (int64_t at = 0; at < count; at += size) {
    auto rows = at::arange(at, std::min(at + size, count));
    out.push_back(pairs ? at::cat({rows, rows.add(count)}) : rows);
  }
  return out;
}

/// Scores samples that carry a graph, and counts each reward's mean.
Tensor reward_of_sample(RewardModel* model, const Experience& sample, Metrics& metrics) {
  if (!model) bad_input("recipe", "the objective learns from rewards: a `reward` block is needed");
  Rewards rewards = model->score(sample);
  if (!rewards.value.defined() || rewards.value.dim() != 1 || rewards.value.size(0) != sample.rows())
    run_failed("reward", "must give one value a row, ", sample.rows(), " in all");
  auto count = [&](const std::string& name, const Tensor& value) {
    Tensor good = value.detach().to(at::kDouble).masked_select(value.detach().isnan().logical_not());
    if (good.numel()) metrics.add(name, good.mean().item<double>(), static_cast<double>(good.numel()));
  };
  for (const auto& component : rewards.components) count("rewards/" + component.name + "/mean", component.value);
  count("reward", rewards.value);
  if (!rewards.value.requires_grad() && at::GradMode::is_enabled())
    bad_input("reward", "the objective needs a reward that a gradient flows through; this one is not differentiable");
  return rewards.value;
}

Evaluation evaluate(Policy& policy, const Experience& micro, const Needs& needs, const UpdateOptions& options,
                    Metrics& metrics) {
  if (!needs.pathwise) return policy.evaluate(micro, needs);
  return policy.evaluate_path(
      micro, needs, [&](const Experience& sample) { return reward_of_sample(options.reward, sample, metrics); });
}

/// The whole batch evaluated without gradients, in the same micro-batches; rows in the batch's order.
Evaluation evaluate_whole(Policy& policy, const Experience& batch, const Needs& needs,
                          const std::vector<Tensor>& parts) {
  at::NoGradGuard no_grad;
  std::vector<Tensor> logp, entropy;
  for (const Tensor& rows : parts) {
    auto now = policy.evaluate(batch.select(rows), needs);
    logp.push_back(now.logp), entropy.push_back(now.entropy);
  }
  Tensor order = at::cat(parts).argsort();
  Evaluation whole;
  whole.logp = concat_rows(logp).index_select(0, order);
  if (entropy[0].defined()) whole.entropy = concat_rows(entropy).index_select(0, order);
  return whole;
}

/// Judges each context with the answer of the row before it (the first with the last one's), as TRL's KTOTrainer pairs
/// them: extra::kl_logp, kl_ref_logp and kl_mask.
void add_mismatched(Policy& policy, Experience& batch, const Needs& needs, const std::vector<Tensor>& parts) {
  Experience other = batch;
  other.action = batch.action.roll(1, 0), other.mask = batch.mask.roll(1, 0);
  for (Tensor Experience::*column : {&Experience::logp, &Experience::old_logp, &Experience::ref_logp})
    other.*column = Tensor();
  Needs only;
  only.data = needs.data;
  at::NoGradGuard no_grad;
  std::vector<Tensor> ref;
  for (const Tensor& rows : parts) ref.push_back(policy.ref_logp(other.select(rows), only));
  batch.extra.set(extra::kl_logp, evaluate_whole(policy, other, only, parts).logp);
  batch.extra.set(extra::kl_ref_logp, concat_rows(ref).index_select(0, at::cat(parts).argsort()));
  batch.extra.set(extra::kl_mask, other.mask);
}

}  // namespace

UpdateResult update(Policy& policy, Objective& objective, Optimizer& optimizer, Experience& batch, const Needs& needs,
                    const UpdateOptions& options, Metrics& metrics) {
  batch.fill_totals();
  int64_t rows = batch.rows();
  auto parts = micro_batches(batch, needs, options.pairs, options.micro_batch_size);
  if (needs.mismatched) add_mismatched(policy, batch, needs, parts);
  if (needs.whole_batch)
    objective.observe(evaluate_whole(policy, batch, needs, parts), batch);
  else if (needs.mismatched)
    objective.observe({}, batch);
  optimizer.zero_grad();
  Metrics found;
  double total = 0;
  std::vector<Tensor> images;
  std::set<std::string> trained;
  bool all = false;
  std::vector<std::string> completions;
  for (const Tensor& part : parts) {
    Experience micro = parts.size() == 1 ? batch : batch.select(part);
    Evaluation now = evaluate(policy, micro, needs, options, found);
    Loss loss = objective.loss(now, micro);
    if (now.auxiliary.defined()) {
      double share = static_cast<double>(part.numel()) / static_cast<double>(rows);
      loss.terms.push_back({"aux_loss", now.auxiliary.mul(share)});
      found.add("aux_loss", now.auxiliary.item<double>(), static_cast<double>(part.numel()));
    }
    if (auto problem = non_finite_term(loss, part[0].item<int64_t>(), part.numel()); !problem.empty())
      return {false, problem};
    for (const auto& term : loss.terms)
      trained.insert(term.trains.begin(), term.trains.end()), all |= term.trains.empty();
    auto sum = loss.total();
    total += sum.item<double>();
    if (sum.requires_grad()) sum.backward();
    if (options.compare_logp && micro.logp.defined() && !now.logp_is_samplers) add_mismatch(micro, now, found);
    if (auto image = now.extra.find(extra::image); image.defined()) images.push_back(image);
    if (now.extra.has_text(extra::completion))
      for (const auto& text : now.extra.text(extra::completion)) completions.push_back(text);
    found.merge(loss.metrics);
  }
  // What was made, for the run's samples.
  if (!images.empty()) batch.extra.set(extra::image, at::cat(images));
  if (!completions.empty()) batch.context.set_text(extra::completion, std::move(completions));
  policy.report(found);
  double norm = optimizer.grad_norm();
  if (!std::isfinite(norm)) return {false, cat("the gradient's norm is ", norm, " over rows 0 to ", rows - 1)};
  // PyTorch's clip_grad_norm_: the same 1e-6, so that a clipped step equals the peers'.
  if (options.max_grad_norm > 0) {
    double factor = options.max_grad_norm / (norm + 1e-6);
    if (factor < 1) optimizer.scale_grad(factor);
  }
  optimizer.step(options.lr, all ? std::set<std::string>{} : trained);
  objective.stepped(found);
  metrics.merge(found);
  metrics.add("loss", total);
  metrics.add("grad_norm", norm);
  metrics.add("learning_rate", options.lr);
  return {};
}

}  // namespace rft
