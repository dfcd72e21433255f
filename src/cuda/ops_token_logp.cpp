#include <ATen/ATen.h>
#include <torch/library.h>

#include "cuda/ops.h"
#include "cuda/runtime.h"
#include "kernels/token_logp.h"
#include "rft/core/error.h"

namespace rft::cuda {
namespace {

/// Rows of dense numbers.
Tensor dense_rows(const Tensor& x) { return x.stride(1) == 1 ? x : x.contiguous(); }
Tensor floats(const Tensor& x) { return x.to(at::kFloat).contiguous(); }

}  // namespace

kernels::NumberType number_type(at::ScalarType type, const char* where) {
  if (type == at::kFloat) return kernels::NumberType::float32;
  if (type == at::kBFloat16) return kernels::NumberType::bfloat16;
  if (type == at::kHalf) return kernels::NumberType::float16;
  run_failed(where, "on a GPU numbers are float32, bfloat16 or float16; got ", at::toString(type));
}
kernels::NumberType number_type(const Tensor& x, const char* where) { return number_type(x.scalar_type(), where); }

std::tuple<Tensor, Tensor, Tensor> token_logp(const Tensor& given, const Tensor& target, double scale) {
  Tensor logits = dense_rows(given), chosen = target.contiguous();
  auto options = logits.options().dtype(at::kFloat);
  Tensor logp = at::empty({logits.size(0)}, options), lse = at::empty_like(logp), entropy = at::empty_like(logp);
  check(kernels::token_logp_forward(logits.const_data_ptr(), number_type(logits, "token_logp"), logits.stride(0),
                                    chosen.const_data_ptr<int64_t>(), static_cast<float>(scale), logits.size(0),
                                    logits.size(1), logp.data_ptr<float>(), lse.data_ptr<float>(),
                                    entropy.data_ptr<float>(), stream()),
        "token_logp");
  return {logp, lse, entropy};
}

Tensor token_logp_backward(const Tensor& given, const Tensor& target, double scale, const Tensor& given_lse,
                           const Tensor& given_entropy, const Tensor& given_grad,
                           const std::optional<Tensor>& given_grad_entropy, at::ScalarType dtype) {
  Tensor logits = dense_rows(given), chosen = target.contiguous();
  Tensor lse = floats(given_lse), entropy = floats(given_entropy), grad = floats(given_grad);
  Tensor grad_entropy = given_grad_entropy ? floats(*given_grad_entropy) : Tensor();
  Tensor out = at::empty(logits.sizes(), logits.options().dtype(dtype));
  check(kernels::token_logp_backward(logits.const_data_ptr(), number_type(logits, "token_logp_backward"),
                                     logits.stride(0), chosen.const_data_ptr<int64_t>(), static_cast<float>(scale),
                                     logits.size(0), logits.size(1), lse.const_data_ptr<float>(),
                                     entropy.const_data_ptr<float>(), grad.const_data_ptr<float>(),
                                     grad_entropy.defined() ? grad_entropy.const_data_ptr<float>() : nullptr,
                                     out.mutable_data_ptr(), number_type(dtype, "token_logp_backward"), stream()),
        "token_logp_backward");
  return out;
}

namespace {
TORCH_LIBRARY_IMPL(rft, CUDA, m) {
  m.impl("token_logp", &token_logp);
  m.impl("token_logp_backward", &token_logp_backward);
}
}  // namespace

}  // namespace rft::cuda
