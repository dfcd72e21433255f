#include "rft/ops/token_influence.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

#include <algorithm>

#include "ops/matmul.h"
#include "rft/core/error.h"

namespace rft::ops {
namespace {

constexpr int64_t kTileLogits = 1 << 20;
constexpr int64_t kDeviceTileLogits = 1 << 27;  // a GPU needs more work at once

/// [n, V]: the gradient of log softmax(z / temperature)[target] in hidden W^T.
Tensor logit_gradient(const Tensor& hidden, const Tensor& weight, const Tensor& target, double temperature,
                      double softcap) {
  Tensor logits = hidden.matmul(weight.t()), slope;
  if (softcap > 0) {
    logits.div_(softcap).tanh_();
    slope = logits.square().neg_().add_(1);
    logits.mul_(softcap);
  }
  Tensor out = at::softmax(logits.div_(temperature), 1).neg_();
  out.scatter_add_(1, target.unsqueeze(1), at::ones({target.size(0), 1}, out.options()));
  out.div_(temperature);
  return slope.defined() ? out.mul_(slope) : out;
}

/// Walks tiles of `rows` [K] int64: body(their numbers, hidden, gradients in their logits).
template <class Body>
void for_tiles_of(const Tensor& rows, const Tensor& hidden, const Tensor& weight, const Tensor& target,
                  double temperature, double softcap, const Body& body) {
  auto type = accumulate_type(hidden);
  Tensor head = weight.to(type);
  int64_t height = std::max<int64_t>(1, (hidden.is_cpu() ? kTileLogits : kDeviceTileLogits) / weight.size(0));
  for (int64_t at = 0; at < rows.size(0); at += height) {
    Tensor part = rows.narrow(0, at, std::min(height, rows.size(0) - at));
    Tensor h = hidden.index_select(0, part).to(type);
    body(part, h, logit_gradient(h, head, target.index_select(0, part), temperature, softcap));
  }
}

}  // namespace

Tensor token_influence(const Tensor& hidden, const Tensor& weight, const Tensor& target, const Tensor& right,
                       double temperature, double softcap) {
  if (hidden.dim() != 2 || weight.dim() != 2 || hidden.size(1) != weight.size(1) ||
      target.sizes() != at::IntArrayRef{hidden.size(0)} || right.sizes() != target.sizes())
    run_failed("token_influence", "hidden [N, D], weight [V, D], target [N] and right [N] don't fit; got ",
               hidden.sizes(), ", ", weight.sizes(), ", ", target.sizes(), " and ", right.sizes());
  at::NoGradGuard no_grad;
  auto type = accumulate_type(hidden);
  Tensor towards = at::zeros(weight.sizes(), weight.options().dtype(type));  // the right tokens' gradient in the head
  for_tiles_of(right.nonzero().squeeze(1), hidden, weight, target, temperature, softcap,
               [&](const Tensor&, const Tensor& h, const Tensor& g) { towards.addmm_(g.t(), h); });
  Tensor out = at::zeros({hidden.size(0)}, hidden.options().dtype(type));
  for_tiles_of(at::arange(hidden.size(0), target.options()), hidden, weight, target, temperature, softcap,
               [&](const Tensor& rows, const Tensor& h, const Tensor& g) {
                 out.index_copy_(0, rows, g.matmul(towards).mul(h).sum(1));
               });
  return out;
}

}  // namespace rft::ops
