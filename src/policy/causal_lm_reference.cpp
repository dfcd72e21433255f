// The reference of a language model: who it is, how it moves, and its mask over what the policy may do.
#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

#include "policy/token_layout.h"
#include "rft/core/error.h"
#include "rft/ops/nucleus_logp.h"
#include "rft/policy/causal_lm.h"
#include "rft/policy/lm_sampler.h"

namespace rft {
namespace {

constexpr char kDue[] = "reference_due", kMask[] = "rollout.mask_top_p";

}  // namespace

Decoder& CausalLm::reference_model() {
  return options_.use_lora && options_.reference.empty() ? *decoder_ : reference();
}

Decoder& CausalLm::reference() {
  if (!reference_) {
    const std::string& path = options_.reference.empty() ? options_.path : options_.reference;
    reference_ = load_decoder(path, options_.reference.empty() ? options_.quantize : "");
    if (decoder_->group()) reference_->divide(*decoder_->group());
    if (reference_->config().vocab_size != decoder_->config().vocab_size)
      bad_input("policy.reference", "'", path, "' has a vocabulary of ", reference_->config().vocab_size,
                " tokens, the policy one of ", decoder_->config().vocab_size);
    if (options_.reference.empty()) add_frozen_adapters(*reference_);
    for (auto& [name, value] : reference_->weights().named()) value.requires_grad_(false);
  }
  return *reference_;
}

/// A mask stays as it is until the rollout that was sampled under it has been learned from.
void CausalLm::stepped(int64_t step) {
  if (!options_.sync_reference || step % options_.reference_every) return;
  reference_due_ = rollout_.mask_top_p < 1;
  if (!reference_due_) move_reference();
}

void CausalLm::move_reference() {
  at::NoGradGuard no_grad;
  auto from = decoder_->weights().named(), to = reference().weights().named();
  for (size_t i = 0; i < from.size(); ++i)
    to[i].second.mul_(1 - options_.reference_mixup).add_(from[i].second, options_.reference_mixup);
}

State CausalLm::state() const {
  State state;
  if (!options_.sync_reference || !reference_) return state;
  for (const auto& [name, value] : reference_->weights().named()) state["reference." + name] = value;
  if (reference_due_) state[kDue] = at::ones({1});
  return state;
}

void CausalLm::load_state(const State& state) {
  if (state.empty()) return;
  at::NoGradGuard no_grad;
  for (auto& [name, value] : reference().weights().named()) value.copy_(state.at("reference." + name));
  reference_due_ = state.contains(kDue);
}

Guide CausalLm::own_guide(bool greedy) {
  if (rollout_.mask_top_p >= 1) return {};
  if (decoder_->group()) bad_input(kMask, "is for models that are whole (no train.tensor_parallel)");
  if (reference_due_ && !greedy) move_reference(), reference_due_ = false;
  return {&reference(), 0, rollout_.mask_top_p};
}

ops::LinearLogp CausalLm::masked_logp(const TokenLayout& layout, const Tensor& states, double temperature,
                                      bool with_entropy) {
  const Decoder& guide = reference();
  Tensor likely;
  {
    at::NoGradGuard no_grad;
    likely = guide.forward(layout.packed, {}).index_select(0, layout.hidden_index);
  }
  return ops::nucleus_logp(states, decoder_->weights().head, layout.target,
                           {likely, guide.weights().head, rollout_.mask_top_p, guide.config().logit_softcap},
                           temperature, with_entropy, decoder_->config().logit_softcap);
}

}  // namespace rft
