#include "rft/nn/layers.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

#include <algorithm>

#include "rft/core/error.h"
#include "rft/core/text.h"
#include "rft/ops/linear.h"
#include "rft/ops/quantized.h"

namespace rft {

namespace {

/// x [N, in] -> [N, out].
Tensor apply_rows(const Linear& linear, const Tensor& x, bool adapters) {
  std::vector<ops::LowRank> additions;
  for (const Adapter& adapter : linear.adapters)
    if (adapter.set == Adapter::kFrozen || (adapters && adapter.set == 0))
      additions.push_back({adapter.a, adapter.b, adapter.first, adapter.scale});
  Tensor gains = adapters ? column_gains(linear) : Tensor();
  if (!gains.defined()) return ops::linear(x, linear.weight, linear.bias, additions, linear.scale);
  Tensor y = ops::linear(x, linear.weight, {}, additions, linear.scale).mul(gains);
  return linear.bias.defined() ? y.add(linear.bias) : y;
}

}  // namespace

Tensor Linear::rows(int64_t first, int64_t count, at::ScalarType type) const {
  Tensor part = weight.narrow(0, first, count);
  return scale.defined() ? ops::dequantize(part, scale.narrow(0, first, count), type) : part.to(type);
}

Tensor dora_gain(const Linear& linear, const Adapter& adapter) {
  Tensor length;
  {
    at::NoGradGuard no_grad;
    at::ScalarType type = linear.weight.scalar_type() == at::kDouble ? at::kDouble : at::kFloat;
    Tensor rows = linear.rows(adapter.first, adapter.rows, type);
    length = rows.addmm(adapter.b.to(type), adapter.a.to(type), 1, adapter.scale).norm(2, 1);
  }
  return adapter.magnitude.div(length);
}

Tensor column_gains(const Linear& linear) {
  auto has_magnitude = [](const Adapter& adapter) { return adapter.magnitude.defined(); };
  if (std::none_of(linear.adapters.begin(), linear.adapters.end(), has_magnitude)) return {};
  std::vector<Tensor> parts;
  int64_t at = 0;
  auto ones_up_to = [&](int64_t end) {
    if (end > at) parts.push_back(at::ones({end - at}, linear.adapters[0].a.options().requires_grad(false)));
    at = end;
  };
  for (const Adapter& adapter : linear.adapters) {
    if (!has_magnitude(adapter)) continue;
    ones_up_to(adapter.first);
    parts.push_back(dora_gain(linear, adapter).to(adapter.a.scalar_type()));
    at += adapter.rows;
  }
  ones_up_to(linear.weight.size(0));
  return at::cat(parts);
}

Tensor apply(const Linear& linear, const Tensor& x, bool adapters) {
  if (x.dim() == 2) return apply_rows(linear, x, adapters);
  auto shape = x.sizes().vec();
  Tensor y = apply_rows(linear, x.reshape({-1, shape.back()}), adapters);
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
