#include "rft/ops/linear.h"

#include <ATen/ATen.h>
#include <torch/csrc/autograd/custom_function.h>

#include "ops/gemm.h"
#include "ops/matmul.h"
#include "rft/ops/quantized.h"

namespace rft::ops {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::Variable;
using torch::autograd::variable_list;

Tensor product(const Tensor& a, const Tensor& b, double scale = 1, const Tensor& bias = {}) {
  Tensor c = at::empty({a.size(0), b.size(1)}, a.options().requires_grad(false));
  matmul_into(c, a, b, scale, /*add=*/false, bias);
  return c;
}

/// `pairs` holds a and b of every addition; the additions say where they go.
struct FastLinear : torch::autograd::Function<FastLinear> {
  static Variable forward(AutogradContext* context, const Variable& x, const Variable& weight, at::TensorList pairs,
                          const std::optional<Variable>& bias, const std::vector<LowRank>& additions,
                          const std::optional<Variable>& codes_scale) {
    const Tensor weight_scale = codes_scale.value_or(Tensor());
    variable_list saved{x, weight, weight_scale};
    std::vector<int64_t> first;
    std::vector<double> scale;
    const Tensor dense = dequantize(weight, weight_scale, x.scalar_type());
    Tensor y = product(x, dense.t(), 1, bias ? bias->contiguous() : Tensor());
    for (const LowRank& add : additions) {
      Tensor low = product(x, add.a.t());
      matmul_into(y.narrow(1, add.first, add.b.size(0)), low, add.b.t(), add.scale, /*add=*/true);
      saved.insert(saved.end(), {add.a, add.b, low});
      first.push_back(add.first), scale.push_back(add.scale);
    }
    context->save_for_backward(saved);
    context->saved_data["bias"] = bias && bias->requires_grad();
    context->saved_data["first"] = first, context->saved_data["scale"] = scale;
    (void)pairs;  // the additions' tensors, for the graph
    return y;
  }

  static variable_list backward(AutogradContext* context, variable_list gradients) {
    auto saved = context->get_saved_variables();
    auto first = context->saved_data["first"].toIntVector();
    auto scale = context->saved_data["scale"].toDoubleVector();
    const Tensor &x = saved[0], &weight = saved[1], dy = gradients[0].contiguous();
    variable_list out(2 + 2 * first.size() + 3);
    if (context->needs_input_grad(0)) out[0] = product(dy, dequantize(weight, saved[2], dy.scalar_type()));
    if (context->needs_input_grad(1)) out[1] = product(dy.t(), x);
    for (size_t i = 0; i < first.size(); ++i) {
      const Tensor &a = saved[3 + 3 * i], &b = saved[4 + 3 * i], &low = saved[5 + 3 * i];
      Tensor part = dy.narrow(1, first[i], b.size(0)), dlow = product(part, b, scale[i]);
      if (context->needs_input_grad(2 + 2 * i)) out[2 + 2 * i] = product(dlow.t(), x);
      // Transposed: the side with few rows is the cheaper one to pack.
      if (context->needs_input_grad(3 + 2 * i)) out[3 + 2 * i] = product(low.t(), part, scale[i]).t().contiguous();
      if (context->needs_input_grad(0)) matmul_into(out[0], dlow, a, 1, /*add=*/true);
    }
    if (context->saved_data["bias"].toBool()) out[2 + 2 * first.size()] = dy.sum(0);
    return out;
  }
};

}  // namespace

Tensor linear(const Tensor& x, const Tensor& weight, const Tensor& bias, const std::vector<LowRank>& additions,
              const Tensor& scale) {
  bool float32 = x.scalar_type() == at::kFloat && weight.scalar_type() == at::kFloat && x.is_cpu() && x.dim() == 2;
  if (additions.empty() && !is_quantized(weight) && !(float32 && gemm_is_faster())) return at::linear(x, weight, bias);
  std::vector<Tensor> pairs;
  for (const LowRank& add : additions) pairs.insert(pairs.end(), {add.a, add.b});
  return FastLinear::apply(x.stride(1) == 1 ? x : x.contiguous(), weight.contiguous(), at::TensorList(pairs),
                           bias.defined() ? std::optional<Tensor>(bias) : std::nullopt, additions,
                           scale.defined() ? std::optional<Tensor>(scale) : std::nullopt);
}

}  // namespace rft::ops
