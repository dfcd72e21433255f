#include "rft/ops/linear.h"

#include <ATen/ATen.h>
#include <ATen/core/dispatch/Dispatcher.h>
#include <torch/csrc/autograd/custom_function.h>

namespace rft::ops {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::Variable;
using torch::autograd::variable_list;

using OneDnnLinear = at::Tensor(const at::Tensor&, const at::Tensor&, const std::optional<at::Tensor>&, std::string_view,
                                c10::List<std::optional<at::Scalar>>, std::optional<std::string_view>);

/// LibTorch's oneDNN product, or nullptr in a build without it.
const c10::TypedOperatorHandle<OneDnnLinear>* one_dnn() {
  static const auto handle = []() -> std::optional<c10::TypedOperatorHandle<OneDnnLinear>> {
    auto schema = c10::Dispatcher::singleton().findSchema({"mkldnn::_linear_pointwise", ""});
    if (!schema || !at::hasMKLDNN()) return std::nullopt;
    return schema->typed<OneDnnLinear>();
  }();
  return handle ? &*handle : nullptr;
}

/// x W^T + bias without a graph.
Tensor product(const Tensor& x, const Tensor& weight, const Tensor& bias) {
  static const c10::List<std::optional<at::Scalar>> no_scalars;
  return one_dnn()->call(x, weight, bias.defined() ? std::optional<Tensor>(bias) : std::nullopt, "none", no_scalars, "");
}

struct FastLinear : torch::autograd::Function<FastLinear> {
  static Variable forward(AutogradContext* context, const Variable& x, const Variable& weight, const std::optional<Variable>& bias) {
    context->save_for_backward({x, weight});
    context->saved_data["bias"] = bias && bias->requires_grad();
    at::AutoDispatchBelowADInplaceOrView below;
    return product(x, weight, bias.value_or(Tensor()));
  }
  static variable_list backward(AutogradContext* context, variable_list gradients) {
    auto saved = context->get_saved_variables();
    const Tensor &x = saved[0], &weight = saved[1], g = gradients[0].contiguous();
    variable_list out(3);
    if (context->needs_input_grad(0)) out[0] = product(g, weight.t(), {});
    // Here both libraries are as fast, and MKL needs no transposed copies.
    if (context->needs_input_grad(1)) out[1] = g.t().mm(x);
    if (context->saved_data["bias"].toBool()) out[2] = g.sum(0);
    return out;
  }
};

}  // namespace

Tensor linear(const Tensor& x, const Tensor& weight, const Tensor& bias) {
  bool fast = x.scalar_type() == at::kFloat && weight.scalar_type() == at::kFloat && x.device().is_cpu() && x.dim() == 2 && x.numel() > 0 && one_dnn();
  return fast ? FastLinear::apply(x, weight, bias.defined() ? std::optional<Tensor>(bias) : std::nullopt) : at::linear(x, weight, bias);
}

}  // namespace rft::ops
