#include "rft/ops/mlp.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>
#include <torch/csrc/autograd/custom_function.h>

#include "ops/matmul.h"
#include "rft/core/error.h"

namespace rft::ops {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::Variable;
using torch::autograd::variable_list;

void activate_(Tensor& x, const std::string& name) {
  if (name == "tanh")
    x.tanh_();
  else if (name == "relu")
    x.relu_();
  else if (name == "elu")
    at::elu_(x);
  else if (name == "silu")
    at::silu_(x);
  else
    run_failed("mlp", "the activation must be tanh, relu, elu or silu; got ", name);
}

/// dx from dy and what the activation gave, in place of dy.
void chain_(Tensor& dy, const Tensor& y, const std::string& name) {
  int64_t count = y.numel();
  const float* at = y.const_data_ptr<float>();
  float* d = dy.data_ptr<float>();
  if (name == "tanh")
    for (int64_t i = 0; i < count; ++i) d[i] *= 1 - at[i] * at[i];
  else if (name == "relu")
    for (int64_t i = 0; i < count; ++i) d[i] = at[i] > 0 ? d[i] : 0;
  else
    for (int64_t i = 0; i < count; ++i) d[i] *= at[i] > 0 ? 1 : at[i] + 1;
}

/// What every layer gave, the last one's last.
std::vector<Tensor> outputs(const Tensor& x, const std::vector<MlpLayer>& layers, const std::string& activation) {
  std::vector<Tensor> out;
  Tensor in = x;
  for (size_t i = 0; i < layers.size(); ++i) {
    Tensor y = at::empty({x.size(0), layers[i].weight.size(0)}, x.options());
    matmul_into(y, in, layers[i].weight.t(), 1, false, layers[i].bias);
    if (i + 1 < layers.size()) activate_(y, activation);
    out.push_back(y), in = y;
  }
  return out;
}

/// [N, M] -> [M].
Tensor column_sums(const Tensor& x) {
  Tensor out = at::zeros({x.size(1)}, x.options());
  const float* from = x.const_data_ptr<float>();
  float* to = out.data_ptr<float>();
  for (int64_t i = 0; i < x.size(0); ++i)
    for (int64_t j = 0; j < x.size(1); ++j) to[j] += from[i * x.size(1) + j];
  return out;
}

struct FusedMlp : torch::autograd::Function<FusedMlp> {
  /// tensors: x, then weight and bias of every layer.
  static Variable forward(AutogradContext* context, const std::string& activation, at::TensorList tensors) {
    std::vector<MlpLayer> layers;
    for (size_t i = 1; i < tensors.size(); i += 2) layers.push_back({tensors[i], tensors[i + 1]});
    auto all = outputs(tensors[0], layers, activation);
    variable_list kept{tensors[0]};
    for (const auto& layer : layers) kept.push_back(layer.weight);
    kept.insert(kept.end(), all.begin(), all.end() - 1);
    context->save_for_backward(kept);
    context->saved_data["activation"] = activation;
    return all.back();
  }

  static variable_list backward(AutogradContext* context, variable_list gradients) {
    auto kept = context->get_saved_variables();
    std::string activation = context->saved_data["activation"].toStringRef();
    size_t count = kept.size() / 2;  // x, `count` weights, count - 1 activations
    variable_list out(2 + 2 * count);
    Tensor dy = gradients[0].contiguous();
    for (size_t i = count; i-- > 0;) {
      const Tensor& weight = kept[1 + i];
      const Tensor& in = i == 0 ? kept[0] : kept[count + i];
      if (context->needs_input_grad(1 + 2 * i)) {  // edges are counted without `activation`
        Tensor dweight = at::empty_like(weight);
        matmul_into(dweight, dy.t(), in, 1, false);
        out[2 + 2 * i] = dweight, out[3 + 2 * i] = column_sums(dy);
      }
      if (i == 0 && !context->needs_input_grad(0)) break;
      Tensor dx = at::empty_like(in);
      matmul_into(dx, dy, weight, 1, false);
      if (i > 0) chain_(dx, in, activation);
      dy = dx;
      if (i == 0) out[1] = dx;
    }
    return out;
  }
};

bool fused(const Tensor& x, const std::vector<MlpLayer>& layers, const std::string& activation) {
  return x.is_cpu() && x.scalar_type() == at::kFloat && layers.front().weight.scalar_type() == at::kFloat &&
         activation != "silu" && x.numel() > 0;
}

}  // namespace

Tensor mlp(const Tensor& x, const std::vector<MlpLayer>& layers, const std::string& activation) {
  if (x.dim() != 2 || layers.empty() || x.size(1) != layers.front().weight.size(1))
    run_failed("mlp", "x must be [N, ", layers.empty() ? 0 : layers.front().weight.size(1), "]; got ", x.sizes());
  if (fused(x, layers, activation)) {
    if (!at::GradMode::is_enabled()) return outputs(x.contiguous(), layers, activation).back();
    std::vector<Tensor> tensors{x.contiguous()};
    for (const auto& layer : layers) tensors.push_back(layer.weight), tensors.push_back(layer.bias);
    return FusedMlp::apply(activation, at::TensorList(tensors));
  }
  Tensor y = x;
  for (size_t i = 0; i < layers.size(); ++i) {
    y = at::addmm(layers[i].bias, y, layers[i].weight.t());
    if (i + 1 < layers.size()) activate_(y, activation);
  }
  return y;
}

}  // namespace rft::ops
