#include "rft/nn/layers.h"

#include <ATen/ATen.h>

#include "rft/core/error.h"
#include "rft/core/text.h"
#include "rft/ops/linear.h"

namespace rft {

Tensor apply(const Linear& linear, const Tensor& x, bool adapters) {
  std::vector<ops::LowRank> additions;
  if (adapters)
    for (const Adapter& adapter : linear.adapters)
      additions.push_back({adapter.a, adapter.b, adapter.first, adapter.scale});
  if (x.dim() == 2) return ops::linear(x, linear.weight, linear.bias, additions);
  auto shape = x.sizes().vec();
  auto y = ops::linear(x.reshape({-1, shape.back()}), linear.weight, linear.bias, additions);
  shape.back() = linear.weight.size(0);
  return y.view(shape);
}

Tensor apply(const Conv2d& conv, const Tensor& x) {
  return at::conv2d(x, conv.weight, conv.bias, conv.stride, conv.padding);
}

Tensor layer_norm(const Norm& norm, const Tensor& x, double eps) {
  return at::layer_norm(x, {x.size(-1)}, norm.weight, norm.bias, eps);
}

Tensor group_norm(const Norm& norm, const Tensor& x, int64_t groups, double eps) {
  return at::group_norm(x, groups, norm.weight, norm.bias, eps);
}

Tensor activate(const std::string& name, const Tensor& x, const std::string& where) {
  if (name == "silu" || name == "swish") return at::silu(x);
  if (name == "gelu") return at::gelu(x);
  if (name == "gelu_new" || name == "gelu_pytorch_tanh" || name == "gelu-approximate") return at::gelu(x, "tanh");
  if (name == "quick_gelu") return x.mul(x.mul(1.702).sigmoid());
  if (name == "relu") return at::relu(x);
  if (name == "mish") return at::mish(x);
  bad_input(where, "there is no activation '", name, "'",
            suggestion(name, {"silu", "gelu", "gelu_new", "quick_gelu", "relu", "mish"}));
}

}  // namespace rft
