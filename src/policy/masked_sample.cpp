// Sampling by unmasking, and the log-probabilities of sampled and of given sequences.
#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

#include <memory>

#include "policy/draws.h"
#include "policy/masked_choice.h"
#include "policy/unmasking.h"
#include "rft/core/error.h"
#include "rft/core/extra.h"
#include "rft/core/rng.h"
#include "rft/nn/recompute.h"

namespace rft {
namespace {

/// A logit that leaves no probability, and no NaN in an entropy.
constexpr double kNever = -1e30;
/// The least level that a demonstration is masked at, as MDLM's sampling_eps.
constexpr double kLeastLevel = 1e-3;
constexpr uint64_t kMaskedShare = 1;  // the stream of a group's key that its level is drawn from

bool was_unmasked(const Experience& batch) { return batch.context.has("unmask_step"); }

/// Greedy decisions are judged by the distribution they are the mode of.
double judged_temperature(double temperature) { return temperature > 0 ? temperature : 1; }

/// [2, N]: the log-probability of each target, and the entropy.
Tensor logp_and_entropy(const Tensor& logp, const Tensor& target) {
  Tensor chosen = logp.gather(1, target.unsqueeze(1)).squeeze(1);
  return at::stack({chosen, logp.exp().mul(logp).sum(1).neg()});
}

}  // namespace

Tensor MaskedDiffusion::log_probabilities(const TokenDenoiser& model, const Tensor& features, const Tensor& cells,
                                          double temperature) const {
  Tensor logits = model.logits(features.flatten(0, 1).index_select(0, cells));
  logits = logits.to(at::promote_types(logits.scalar_type(), at::kFloat));
  if (temperature != 1) logits = logits.div(temperature);
  return logits.masked_fill(banned_, kNever).log_softmax(1);
}

MaskedDiffusion::Choice MaskedDiffusion::choice_at(const Tensor& unmask_step, int64_t step) {
  Tensor here = unmask_step.eq(step);
  Choice out;
  out.rows = here.any(1).nonzero().flatten();
  out.cells = here.flatten().nonzero().flatten();
  out.inside = here.index_select(0, out.rows).flatten().nonzero().flatten();
  return out;
}

/// The rows of a choice as they were before the step.
Tensor MaskedDiffusion::state_before(const Tensor& action, const Tensor& unmask_step, const Choice& choice,
                                     int64_t step) const {
  Tensor known = unmask_step.index_select(0, choice.rows).lt(step);
  return at::where(known, action.index_select(0, choice.rows), at::full({}, model_->mask_id(), at::kLong));
}

Experience MaskedDiffusion::sample(const Experience& contexts, const SampleRequest& request) {
  at::NoGradGuard no_grad;
  int64_t groups = contexts.context.rows(), B = groups * request.group_size;
  Experience out;
  out.group = at::arange(groups, at::kLong).repeat_interleave(request.group_size);
  out.context = contexts.context.select(out.group);
  double temperature = rollout_.temperature;
  if (request.greedy) temperature = rollout_.eval_temperature.value_or(temperature);
  Tensor tokens = out.context.tensor("tokens");
  out.mask = tokens.eq(model_->mask_id());
  out.context.set("unmask_step",
                  unmasking_steps(row_keys(request.seed, request.first_row(), B), out.mask, steps(), rollout_.order));
  unmask(out, request, temperature);
  out.context.set_text(extra::completion, texts(out.action, out.mask));
  out.extra.set("version", at::full({B}, version_, at::kLong));
  if (rollout_.judge == "steps") return out;
  out.context.erase("unmask_step"), out.extra.erase(extra::entropy);
  out.extra.set(extra::draw, group_draws(request.seed, groups, request.group_size, true, request.first_context));
  out.logp = judge_demonstrations(*model_, out).logp;
  return out;
}

/// Sets action, logp and extra::entropy: step by step the largest of log-probability and Gumbel noise.
void MaskedDiffusion::unmask(Experience& out, const SampleRequest& request, double temperature) const {
  auto keys = row_keys(request.seed, request.first_row(), out.mask.size(0));
  Tensor when = out.context.tensor("unmask_step");
  int64_t L = when.size(1), done = 0;
  out.action = out.context.tensor("tokens").clone();
  Tensor logp, entropy, action = out.action.view({-1});
  for (int64_t step = 0; step < steps(); ++step) {
    Choice choice = choice_at(when, step);
    if (choice.empty()) continue;
    Tensor all = log_probabilities(*model_, model_->features(state_before(out.action, when, choice, step)),
                                   choice.inside, judged_temperature(temperature));
    Tensor score = all;
    if (temperature > 0) score = all.add(gumbel(keys, choice.cells, L, all.size(1)).to(all.scalar_type()));
    Tensor token = score.argmax(1), found = logp_and_entropy(all, token);
    if (!logp.defined()) logp = at::zeros(when.numel(), all.options()), entropy = at::zeros_like(logp);
    action.index_copy_(0, choice.cells, token);
    logp.index_copy_(0, choice.cells, found[0]), entropy.index_copy_(0, choice.cells, found[1]);
    done += choice.cells.numel();
    if (request.progress) request.progress(out.mask.size(0) * (step + 1) / steps(), done);
  }
  out.logp = logp.view(when.sizes());
  out.extra.set(extra::entropy, entropy.view(when.sizes()));
}

Evaluation MaskedDiffusion::judge_rollout(const TokenDenoiser& model, const Experience& batch, bool current) {
  Tensor when = batch.context.tensor("unmask_step"), target = batch.action.flatten();
  double temperature = judged_temperature(rollout_.temperature);
  // Weights that have not moved since they sampled give the same numbers: they need not be computed before the backward
  // pass, which computes them anyway.
  const bool known = current && batch.extra.has("version") && batch.extra.has(extra::entropy) &&
                     batch.extra.tensor("version").eq(version_).all().item<bool>();
  auto wide = at::promote_types(model.weights().tensors.front().second.scalar_type(), at::kFloat);
  Tensor judged = at::zeros({2, when.numel()}, at::TensorOptions().dtype(wide));
  for (int64_t step = 0; step < steps(); ++step) {
    Choice choice = choice_at(when, step);
    if (choice.empty()) continue;
    Tensor chosen = target.index_select(0, choice.cells), sampled;
    if (known)
      sampled = at::stack({batch.logp.flatten().index_select(0, choice.cells),
                           batch.extra.tensor(extra::entropy).flatten().index_select(0, choice.cells)});
    auto body = [this, &model, inside = choice.inside, chosen, sampled, temperature](const Tensor& state) {
      Tensor found = logp_and_entropy(log_probabilities(model, model.features(state), inside, temperature), chosen);
      if (sampled.defined()) {
        mismatch_ += found[0].detach().sub(sampled[0]).abs().sum().item<double>();
        mismatch_count_ += static_cast<double>(chosen.numel());
      }
      return found;
    };
    Tensor state = state_before(batch.action, when, choice, step);
    Tensor found = at::GradMode::is_enabled() ? recompute_in_backward(body, state, sampled)
                   : known                    ? sampled
                                              : body(state);
    judged = judged.index_copy(1, choice.cells, found.to(wide));
  }
  Evaluation out;
  out.logp = judged[0].view(when.sizes()), out.entropy = judged[1].view(when.sizes());
  out.logp_is_samplers = known;
  return out;
}

Evaluation MaskedDiffusion::judge_demonstrations(const TokenDenoiser& model, const Experience& batch) const {
  auto groups = draw_keys(batch, 0);
  int64_t B = batch.action.size(0), L = batch.action.size(1);
  Tensor level = at::empty({B, 1}, at::kDouble);
  for (int64_t b = 0; b < B; ++b)
    level.data_ptr<double>()[b] =
        kLeastLevel + (1 - kLeastLevel) * Rng(groups[static_cast<size_t>(b)], kMaskedShare).uniform(0);
  Tensor hidden = uniform_cells(draw_keys(batch, 1), L).lt(level).logical_and(batch.mask);
  Tensor cells = hidden.flatten().nonzero().flatten();
  Tensor state = at::where(hidden, at::full({}, model.mask_id(), at::kLong), batch.action);
  Tensor all = log_probabilities(model, model.features(state), cells, 1);
  Tensor found = logp_and_entropy(all, batch.action.flatten().index_select(0, cells));
  Tensor weight = level.reciprocal().expand({B, L}).reshape({-1}).index_select(0, cells).to(found.scalar_type());
  Tensor judged = at::zeros({2, B * L}, found.options()).index_copy(1, cells, found.mul(weight));
  Evaluation out;
  out.logp = judged[0].view({B, L}), out.entropy = judged[1].view({B, L});
  return out;
}

Evaluation MaskedDiffusion::evaluate(const Experience& batch, const Needs&) {
  return was_unmasked(batch) ? judge_rollout(*model_, batch, true) : judge_demonstrations(*model_, batch);
}

Tensor MaskedDiffusion::ref_logp(const Experience& batch, const Needs&) {
  at::NoGradGuard no_grad;
  return (was_unmasked(batch) ? judge_rollout(reference(), batch, false) : judge_demonstrations(reference(), batch))
      .logp;
}

}  // namespace rft
