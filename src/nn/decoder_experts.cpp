#include "nn/decoder_experts.h"

#include <ATen/ATen.h>

#include "rft/ops/swiglu.h"

namespace rft {

Tensor activated(const Tensor& x, const std::string& kind) {
  if (kind == "silu") return at::silu(x);
  if (kind == "relu") return at::relu(x);
  return at::gelu(x, kind == "gelu_new" ? "tanh" : "none");
}

Tensor gated(const Tensor& x, const std::string& kind) {
  if (kind == "silu") return ops::swiglu(x);
  auto halves = x.chunk(2, 1);
  return activated(halves[0], kind).mul(halves[1]);
}

Tensor router_probabilities(const DecoderLayer& layer, const Tensor& x) {
  auto logits = apply(layer.router, x, false);
  return logits.softmax(-1, logits.scalar_type() == at::kDouble ? at::kDouble : at::kFloat);
}

Tensor mixture(const DecoderLayer& layer, const Tensor& x, const Tensor& routing, const DecoderConfig& config,
               bool adapters) {
  auto [weight, chosen] = routing.topk(config.experts.per_token, 1);  // [N, k]
  if (config.experts.normalise) weight = weight.div(weight.sum(1, /*keepdim=*/true));
  weight = weight.to(x.scalar_type());
  Tensor out = at::zeros_like(x);
  for (size_t e = 0; e < layer.experts.size(); ++e) {
    auto places = chosen.eq(static_cast<int64_t>(e)).nonzero();  // [n, 2]: row, and which of its choices
    if (places.size(0) == 0) continue;
    auto rows = places.select(1, 0).contiguous();
    const ExpertLayer& expert = layer.experts[e];
    auto y = apply(expert.down, gated(apply(expert.gate_up, x.index_select(0, rows), adapters), config.activation),
                   adapters);
    auto share = weight.index({rows, places.select(1, 1)}).unsqueeze(1);
    out = out.index_add(0, rows, y.mul(share));
  }
  return out;
}

void ExpertUse::add(const Tensor& routing, int64_t per_token) {
  auto choices = std::get<1>(routing.detach().topk(per_token, 1)).flatten();
  auto counts = choices.bincount({}, routing.size(1)).to(routing.scalar_type());
  auto sums = routing.sum(0);
  chosen_ = chosen_.defined() ? chosen_.add(counts) : counts;
  probability_ = probability_.defined() ? probability_.add(sums) : sums;
  rows_ += routing.size(0);
}

Tensor ExpertUse::balance() const {
  if (!chosen_.defined()) return {};
  auto rows = static_cast<double>(rows_);
  return chosen_.div(rows).mul(probability_.div(rows)).sum().mul(static_cast<double>(chosen_.numel()));
}

}  // namespace rft
