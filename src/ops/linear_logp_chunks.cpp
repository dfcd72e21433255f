#include "ops/linear_logp_chunks.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <vector>

#include "rft/ops/token_logp.h"

namespace rft::ops {
namespace {

constexpr int64_t kChunkBytes = int64_t{1} << 30;

at::ScalarType wide_type(const Tensor& x) { return x.scalar_type() == at::kDouble ? at::kDouble : at::kFloat; }
bool narrow_on_gpu(const Tensor& x) { return x.is_cuda() && at::isReducedFloatingType(x.scalar_type()); }

/// a b in float32 or wider.
Tensor wide_product(const Tensor& a, const Tensor& b) {
  if (narrow_on_gpu(a)) return at::mm(a, b, at::kFloat);
  return at::mm(a.to(wide_type(a)), b.to(wide_type(b)));
}

/// sum += a b; sum is float32 or wider.
void add_product(Tensor& sum, const Tensor& a, const Tensor& b) {
  if (narrow_on_gpu(a))
    at::addmm_out(sum, sum, a, b, at::kFloat);
  else
    sum.addmm_(a.to(sum.scalar_type()), b.to(sum.scalar_type()));
}

/// The logits of some rows, capped; what they are to be multiplied by; and the cap's slope, which is undefined where
/// there is no cap or nobody asks.
struct ChunkLogits {
  Tensor values, slope;
  double scale;
};

ChunkLogits logits_of(const Tensor& rows, const Tensor& weight, const ChunkShape& shape, bool with_slope) {
  ChunkLogits out{wide_product(rows, weight.t()), {}, 1 / shape.temperature};
  if (shape.softcap <= 0) return out;
  out.values.div_(shape.softcap).tanh_();
  if (with_slope) out.slope = out.values.square().neg_().add_(1);
  out.values.mul_(shape.softcap);
  return out;
}

template <class Body>
void for_chunks(const Tensor& hidden, const Tensor& weight, const ChunkShape& shape, const Body& body) {
  int64_t size = shape.rows ? shape.rows : std::max<int64_t>(kChunkBytes / 4 / std::max<int64_t>(weight.size(0), 1), 1);
  for (int64_t at = 0; at < hidden.size(0); at += size) body(at, std::min(size, hidden.size(0) - at));
}

}  // namespace

ChunkedLogp chunked_logp(const Tensor& hidden, const Tensor& weight, const Tensor& target, const ChunkShape& shape) {
  auto options = hidden.options().dtype(wide_type(hidden)).requires_grad(false);
  int64_t N = hidden.size(0);
  ChunkedLogp out{at::empty({N}, options), at::empty({N}, options), at::empty({N}, options)};
  for_chunks(hidden, weight, shape, [&](int64_t at, int64_t rows) {
    ChunkLogits logits = logits_of(hidden.narrow(0, at, rows), weight, shape, false);
    TokenLogp part = token_logp(logits.values, target.narrow(0, at, rows), logits.scale);
    out.logp.narrow(0, at, rows).copy_(part.logp);
    out.lse.narrow(0, at, rows).copy_(part.lse);
    out.entropy.narrow(0, at, rows).copy_(part.entropy);
  });
  return out;
}

ChunkedGradients chunked_logp_backward(const Tensor& hidden, const Tensor& weight, const Tensor& target,
                                       const ChunkShape& shape, const ChunkedLogp& saved, const Tensor& grad_logp,
                                       const Tensor& grad_entropy, bool wants_hidden, bool wants_weight) {
  ChunkedGradients out;
  if (wants_hidden) out.hidden = at::empty(hidden.sizes(), hidden.options().requires_grad(false));
  Tensor sum;
  if (wants_weight) sum = at::zeros(weight.sizes(), weight.options().dtype(wide_type(weight)).requires_grad(false));
  for_chunks(hidden, weight, shape, [&](int64_t at, int64_t rows) {
    auto of = [&](const Tensor& x) { return x.defined() ? x.narrow(0, at, rows) : x; };
    Tensor some = of(hidden);
    ChunkLogits logits = logits_of(some, weight, shape, true);
    // In the products' dtype, which on a GPU may be narrower than the logits.
    auto type = narrow_on_gpu(hidden) && !logits.slope.defined() ? hidden.scalar_type() : wide_type(hidden);
    Tensor gradient = token_logp_backward(logits.values, of(target), logits.scale, of(saved.lse), of(saved.entropy),
                                          of(grad_logp), of(grad_entropy), type);
    logits.values = Tensor();  // its gigabyte is free for the products
    if (logits.slope.defined()) gradient.mul_(logits.slope);
    if (narrow_on_gpu(hidden)) gradient = gradient.to(hidden.scalar_type());
    if (wants_hidden) out.hidden.narrow(0, at, rows).copy_(at::mm(gradient, weight.to(gradient.scalar_type())));
    if (wants_weight) add_product(sum, gradient.t(), some);
  });
  if (wants_weight) out.weight = sum.to(weight.scalar_type());
  return out;
}

}  // namespace rft::ops
