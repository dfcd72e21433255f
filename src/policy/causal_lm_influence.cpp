// How the tokens of a group's answers pull on its right ones, through a language model's head.
#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

#include <limits>

#include "policy/token_layout.h"
#include "rft/core/error.h"
#include "rft/ops/token_influence.h"
#include "rft/policy/causal_lm.h"

namespace rft {
namespace {

/// [B] bool: rows whose decisions have positive advantage on average.
Tensor right_rows(const Experience& batch) {
  Tensor advantage = batch.advantage;
  if (advantage.dim() == 1) return advantage.gt(0);
  return at::where(batch.mask, advantage, at::zeros({}, advantage.options())).sum(1).gt(0);
}

/// [B] of values [B, T]: each row's mean over its decisions, 0 without any.
Tensor means_of_rows(const Tensor& values, const Tensor& mask) {
  Tensor sum = at::where(mask, values, at::zeros({}, values.options())).sum(1);
  return sum.div(mask.sum(1).to(values.scalar_type()).clamp_min(1));
}

}  // namespace

JudgesTokens::Influence CausalLm::token_influence(const Experience& batch) {
  if (!batch.advantage.defined()) run_failed("causal_lm", "token_influence is of rows with advantages");
  at::NoGradGuard no_grad;
  int64_t B = batch.action.size(0), T = batch.action.size(1);
  Tensor right = right_rows(batch);
  Influence out{at::zeros({B, T}, at::kFloat), at::full({B}, -std::numeric_limits<float>::infinity(), at::kFloat)};
  double temperature = rollout_.temperature > 0 ? rollout_.temperature : 1.0;
  Tensor groups = std::get<0>(at::_unique(batch.group));
  for (int64_t g = 0; g < groups.numel(); ++g) {
    Tensor rows = batch.group.eq(groups[g]).nonzero().squeeze(1), good = right.index_select(0, rows);
    if (good.all().item<bool>() || !good.any().item<bool>()) continue;
    Experience group = batch.select(rows);
    const TokenLayout layout = TokenLayout::of(group.context.tensor("prompt_ids"),
                                               group.context.tensor("prompt_length"), group.action, group.mask)
                                   .to(decoder_->device());
    if (layout.empty()) continue;
    Tensor states = decoder_->forward(layout.packed, {}).index_select(0, layout.hidden_index);
    Tensor of_right = good.to(layout.cell.device()).index_select(0, layout.cell.div(T, "floor"));
    Tensor found = ops::token_influence(states, decoder_->weights().head, layout.target, of_right, temperature,
                                        decoder_->config().logit_softcap);
    Tensor cells = to_cells(found, layout.cell, rows.numel(), T).to(at::kCPU, at::kFloat);
    out.influence.index_copy_(0, rows, cells);
    Tensor each = means_of_rows(cells, group.mask).masked_select(good.logical_and(group.mask.any(1)));
    if (each.numel()) out.anchor.index_fill_(0, rows, each.min().item<float>());
  }
  return out;
}

}  // namespace rft
