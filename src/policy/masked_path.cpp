// Reward backpropagation through unmasking steps (DRAKES, Wang et al. 2024, arXiv:2410.13643).
//
// A token y = argmax(logp + g), g Gumbel, is replaced by softmax((logp + g) / temperature). DRAKES relaxes "masked a
// while longer" as one more category; here when a position is unmasked is drawn beforehand, which leaves the
// distribution of the samples as it is and the gradient to the tokens.
#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

#include <memory>

#include "policy/draws.h"
#include "policy/masked_choice.h"
#include "policy/unmasking.h"
#include "rft/core/error.h"
#include "rft/core/extra.h"
#include "rft/nn/recompute.h"

namespace rft {
namespace {

constexpr uint64_t kLastSteps = 1;  // what a batch's own random number is used for

Tensor one_hot(const Tensor& ids, int64_t V, at::ScalarType dtype) {
  auto shape = ids.sizes().vec();
  shape.push_back(V);
  return at::zeros(shape, at::TensorOptions().dtype(dtype)).scatter_(-1, ids.unsqueeze(-1), 1);
}

/// The value of `hard`, the gradient of `soft`.
Tensor straight_through(const Tensor& hard, const Tensor& soft) { return hard.add(soft.sub(soft.detach())); }

}  // namespace

/// One step of a relaxed run. The state [B, L * V + 1] holds each row's tokens as distributions, and the KL divergence
/// of the steps before.
struct MaskedDiffusion::PathStep {
  Choice choice;
  std::vector<uint64_t> keys;
  int64_t length = 0, vocabulary = 0;
  double relaxation_temperature = 1;
  bool flows = true;  ///< a gradient goes back to the tokens of earlier steps
  bool kl = false;
};

double MaskedDiffusion::relaxation_temperature() const {
  double from = rollout_.relaxation_temperature, to = rollout_.final_relaxation_temperature.value_or(from);
  if (version_ >= rollout_.relaxation_steps) return to;
  return from + (to - from) * static_cast<double>(version_) / static_cast<double>(rollout_.relaxation_steps);
}

Tensor MaskedDiffusion::path_step(const PathStep& step, const Tensor& state) {
  int64_t B = state.size(0), L = step.length, V = step.vocabulary;
  const Choice& choice = step.choice;
  Tensor x = state.narrow(1, 0, L * V).reshape({B, L, V}), kl = state.select(1, L * V);
  if (!step.flows) x = x.detach();
  double temperature = rollout_.temperature > 0 ? rollout_.temperature : 1;
  Tensor rows = x.index_select(0, choice.rows);
  Tensor logp = log_probabilities(*model_, model_->features(rows), choice.inside, temperature);
  Tensor score = logp.add(gumbel(step.keys, choice.cells, L, V).to(logp.scalar_type()));
  Tensor token = one_hot(score.argmax(1), V, x.scalar_type());
  if (step.flows) {
    Tensor soft = score.div(step.relaxation_temperature).softmax(1).to(x.scalar_type());
    token = rollout_.relaxation == "straight_through" ? straight_through(token, soft) : soft;
  }
  if (step.kl) {
    Tensor other = log_probabilities(reference(), reference().features(rows), choice.inside, temperature);
    Tensor each = logp.exp().mul(logp.sub(other)).sum(1).to(kl.scalar_type());
    kl = kl.index_add(0, choice.cells.div(L, "floor"), each);
  }
  Tensor next = x.reshape({B * L, V}).index_copy(0, choice.cells, token);
  return at::cat({next.view({B, L * V}), kl.unsqueeze(1)}, 1);
}

Evaluation MaskedDiffusion::evaluate_path(const Experience& batch, const Needs& needs, const RewardOfSample& reward) {
  const Pathwise& path = *needs.pathwise;
  if (path.path != Pathwise::Path::chain || path.noise_repeats > 0)
    bad_input("objective.path",
              "masked diffusion has gradients along the chain of its steps alone: path chain, and "
              "no noise_repeats");
  Tensor tokens = batch.context.tensor("tokens"), undecided = tokens.eq(model_->mask_id());
  auto keys = draw_keys(batch, 1);
  const int64_t B = tokens.size(0), L = tokens.size(1), V = model_->vocab_size(), T = steps();
  int64_t low = std::min(path.min_steps ? path.min_steps : T, T),
          high = std::min(path.max_steps ? path.max_steps : T, T);
  int64_t last = draw_between(std::min(low, high), high, version_, kLastSteps);
  Tensor when = unmasking_steps(keys, undecided, T, rollout_.order);
  auto dtype = at::promote_types(model_->weights().tensors.front().second.scalar_type(), at::kFloat);
  Tensor state = one_hot(tokens, V, dtype).view({B, L * V});
  state = at::cat({state, at::zeros({B, 1}, state.options())}, 1);
  for (int64_t i = 0; i < T; ++i) {
    auto step = std::make_shared<PathStep>();
    step->choice = choice_at(when, i);
    if (step->choice.empty()) continue;
    step->keys = keys, step->length = L, step->vocabulary = V;
    step->relaxation_temperature = relaxation_temperature();
    step->flows = i >= T - last, step->kl = path.kl;
    at::AutoGradMode gradients(at::GradMode::is_enabled() && (step->flows || step->kl));
    auto body = [this, step](const Tensor& x) { return path_step(*step, x); };
    // All but the last step are computed again in the backward pass: one state a step is kept.
    state = at::GradMode::is_enabled() && i + 1 < T ? recompute_in_backward(body, state) : body(state);
  }
  return rewarded(batch, state.narrow(1, 0, L * V).view({B, L, V}), state.select(1, L * V), path.kl, reward);
}

/// The end of a relaxed run: what the reward says of it.
Evaluation MaskedDiffusion::rewarded(const Experience& batch, const Tensor& x, const Tensor& kl, bool with_kl,
                                     const RewardOfSample& reward) const {
  Experience sample;
  sample.context = batch.context, sample.group = batch.group;
  sample.action = x.argmax(2);
  sample.mask = batch.context.tensor("tokens").eq(model_->mask_id());
  sample.context.set_text(extra::completion, texts(sample.action, sample.mask));
  bool soft = rollout_.relaxation == "soft";
  sample.extra.set(extra::one_hot, soft ? x : straight_through(one_hot(sample.action, x.size(2), x.scalar_type()), x));
  Evaluation out;
  out.reward = reward(sample);
  if (with_kl) out.extra.set(extra::path_kl, kl);
  out.extra.set_text(extra::completion, sample.context.text(extra::completion));
  return out;
}

}  // namespace rft
