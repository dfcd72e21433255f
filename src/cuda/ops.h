#pragma once
/// Our operators' kernels for tensors on a GPU, as they are registered under rft::NAME. In tests the emulator runs them
/// on tensors on the CPU.
#include <optional>
#include <tuple>

#include "kernels/number_type.h"
#include "rft/core/tensor.h"

namespace rft::cuda {

/// Throws RunError naming `where` for a dtype that kernels don't take.
kernels::NumberType number_type(const Tensor& x, const char* where);
kernels::NumberType number_type(at::ScalarType type, const char* where);

/// rft::token_logp, rft::token_logp_backward: see rft/ops/token_logp.h.
std::tuple<Tensor, Tensor, Tensor> token_logp(const Tensor& logits, const Tensor& target, double scale);
Tensor token_logp_backward(const Tensor& logits, const Tensor& target, double scale, const Tensor& lse,
                           const Tensor& entropy, const Tensor& grad_logp, const std::optional<Tensor>& grad_entropy,
                           at::ScalarType dtype);

/// rft::rms_norm(x, weight, eps) -> y, scale; rft::rms_norm_backward(dy, x, weight, scale, wants_weight) -> dx,
/// dweight.
std::tuple<Tensor, Tensor> rms_norm(const Tensor& x, const Tensor& weight, double eps);
std::tuple<Tensor, Tensor> rms_norm_backward(const Tensor& dy, const Tensor& x, const Tensor& weight,
                                             const Tensor& scale, bool wants_weight);

/// rft::rotary_turn: see rft/ops/rotary.h; sign -1 turns back.
Tensor rotary_turn(const Tensor& x, const Tensor& cos, const Tensor& sin, int64_t rotated, int64_t sign);

/// rft::swiglu, rft::swiglu_backward.
Tensor swiglu(const Tensor& x);
Tensor swiglu_backward(const Tensor& dy, const Tensor& x);

/// rft::adamw: see rft/ops/adamw.h.
void adamw(const Tensor& gradient, double lr, double beta1, double beta2, double weight_decay, double eps, int64_t step,
           const Tensor& master, const Tensor& mean, const Tensor& square, const std::optional<Tensor>& narrow);

}  // namespace rft::cuda
