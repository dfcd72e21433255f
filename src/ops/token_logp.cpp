#include "rft/ops/token_logp.h"

#include <ATen/ATen.h>
#include <torch/library.h>

#include <limits>
#include <tuple>

#include "ops/dispatch.h"

namespace rft::ops {
namespace {

using Forward = std::tuple<Tensor, Tensor, Tensor>(const Tensor&, const Tensor&, double);
using Backward = Tensor(const Tensor&, const Tensor&, double, const Tensor&, const Tensor&, const Tensor&,
                        const std::optional<Tensor>&, at::ScalarType);

Tensor wide(const Tensor& logits, double scale) {
  return logits.to(logits.scalar_type() == at::kDouble ? at::kDouble : at::kFloat).mul(scale);
}

/// On any device; the CUDA part has a kernel.
std::tuple<Tensor, Tensor, Tensor> token_logp_composed(const Tensor& logits, const Tensor& target, double scale) {
  Tensor z = wide(logits, scale), lse = z.logsumexp(1), logp = z.sub(lse.unsqueeze(1)), p = logp.exp();
  Tensor entropy = at::where(p.gt(0), p.mul(logp), at::zeros({}, p.options())).sum(1).neg();
  Tensor known = target.ge(0).logical_and(target.lt(z.size(1)));
  Tensor chosen = logp.gather(1, at::where(known, target, at::zeros_like(target)).unsqueeze(1)).squeeze(1);
  Tensor unknown = at::full({}, std::numeric_limits<double>::quiet_NaN(), chosen.options());
  return {at::where(known, chosen, unknown), lse, entropy};
}

Tensor token_logp_composed_backward(const Tensor& logits, const Tensor& target, double scale, const Tensor& lse,
                         const Tensor& entropy, const Tensor& grad_logp, const std::optional<Tensor>& grad_entropy,
                         at::ScalarType dtype) {
  Tensor logp = wide(logits, scale).sub(lse.unsqueeze(1)), p = logp.exp();
  Tensor g = grad_logp.unsqueeze(1), per_p = g;
  if (grad_entropy) {
    Tensor seen = at::where(p.gt(0), logp, at::zeros({}, logp.options()));
    per_p = g.add(grad_entropy->unsqueeze(1).mul(seen.add(entropy.unsqueeze(1))));
  }
  Tensor out = p.mul(per_p).neg();
  return out.scatter_add(1, target.unsqueeze(1), g.to(out.scalar_type())).mul(scale).to(dtype);
}

TORCH_LIBRARY_FRAGMENT(rft, m) {
  m.def("token_logp(Tensor logits, Tensor target, float scale) -> (Tensor, Tensor, Tensor)");
  m.def(
      "token_logp_backward(Tensor logits, Tensor target, float scale, Tensor lse, Tensor entropy, Tensor grad_logp, "
      "Tensor? grad_entropy, ScalarType dtype) -> Tensor");
}
TORCH_LIBRARY_IMPL(rft, CompositeExplicitAutograd, m) {
  m.impl("token_logp", &token_logp_composed);
  m.impl("token_logp_backward", &token_logp_composed_backward);
}

}  // namespace

TokenLogp token_logp(const Tensor& logits, const Tensor& target, double scale) {
  static const auto op = find_op<Forward>("rft::token_logp");
  at::AutoDispatchBelowADInplaceOrView below;
  auto [logp, lse, entropy] = op.call(logits, target, scale);
  return {logp, lse, entropy};
}

Tensor token_logp_backward(const Tensor& logits, const Tensor& target, double scale, const Tensor& lse,
                           const Tensor& entropy, const Tensor& grad_logp, const Tensor& grad_entropy,
                           at::ScalarType dtype) {
  static const auto op = find_op<Backward>("rft::token_logp_backward");
  at::AutoDispatchBelowADInplaceOrView below;
  return op.call(logits, target, scale, lse, entropy, grad_logp,
                 grad_entropy.defined() ? std::optional<Tensor>(grad_entropy) : std::nullopt, dtype);
}

}  // namespace rft::ops
