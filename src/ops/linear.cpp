#include "rft/ops/linear.h"

#include <ATen/ATen.h>
#include <torch/csrc/autograd/custom_function.h>

#include "ops/gemm.h"
#include "ops/matmul.h"

namespace rft::ops {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::Variable;
using torch::autograd::variable_list;

Tensor product(const Tensor& a, const Tensor& b, const Tensor& bias = {}) {
  Tensor c = at::empty({a.size(0), b.size(1)}, a.options());
  matmul_into(c, a, b, 1, /*add=*/false, bias);
  return c;
}

struct FastLinear : torch::autograd::Function<FastLinear> {
  static Variable forward(AutogradContext* context, const Variable& x, const Variable& weight,
                          const std::optional<Variable>& bias) {
    context->save_for_backward({x, weight});
    context->saved_data["bias"] = bias && bias->requires_grad();
    return product(x, weight.t(), bias ? bias->contiguous() : Tensor());
  }
  static variable_list backward(AutogradContext* context, variable_list gradients) {
    auto saved = context->get_saved_variables();
    const Tensor &x = saved[0], &weight = saved[1], g = gradients[0].contiguous();
    variable_list out(3);
    if (context->needs_input_grad(0)) out[0] = product(g, weight);
    if (context->needs_input_grad(1)) out[1] = product(g.t(), x);
    if (context->saved_data["bias"].toBool()) out[2] = g.sum(0);
    return out;
  }
};

}  // namespace

Tensor linear(const Tensor& x, const Tensor& weight, const Tensor& bias) {
  bool float32 = x.scalar_type() == at::kFloat && weight.scalar_type() == at::kFloat && x.is_cpu() && x.dim() == 2;
  if (!float32 || !gemm_is_faster()) return at::linear(x, weight, bias);
  return FastLinear::apply(x.stride(1) == 1 ? x : x.contiguous(), weight.contiguous(),
                           bias.defined() ? std::optional<Tensor>(bias) : std::nullopt);
}

}  // namespace rft::ops
