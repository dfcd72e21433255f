#include "rft/nn/layer_gate.h"

#include <ATen/ATen.h>
#include <torch/csrc/autograd/custom_function.h>

namespace rft {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::Variable;
using torch::autograd::variable_list;

/// The identity of each, and a call on each way.
struct GatePost : torch::autograd::Function<GatePost> {
  static variable_list forward(AutogradContext* context, at::TensorList xs, int64_t gate, int64_t layer, bool in) {
    auto* of = reinterpret_cast<LayerGate*>(gate);
    context->set_materialize_grads(false);
    context->saved_data["gate"] = gate, context->saved_data["layer"] = layer, context->saved_data["in"] = in;
    if (in)
      of->enter(layer, LayerGate::Pass::forward);
    else
      of->leave(layer, LayerGate::Pass::forward);
    variable_list out;
    for (const Tensor& x : xs) out.push_back(x.view_as(x));
    return out;
  }

  static variable_list backward(AutogradContext* context, variable_list gradients) {
    auto* of = reinterpret_cast<LayerGate*>(context->saved_data["gate"].toInt());
    int64_t layer = context->saved_data["layer"].toInt();
    if (context->saved_data["in"].toBool())
      of->leave(layer, LayerGate::Pass::backward);
    else
      of->enter(layer, LayerGate::Pass::backward);
    gradients.resize(gradients.size() + 3);
    return gradients;
  }
};

}  // namespace

Tensor into_layer(LayerGate* gate, int64_t layer, const Tensor& x) {
  return gate ? GatePost::apply(at::TensorList(x), reinterpret_cast<int64_t>(gate), layer, true)[0] : x;
}

Tensor out_of_layer(LayerGate* gate, int64_t layer, const Tensor& x) {
  return out_of_layer(gate, layer, std::vector<Tensor>{x})[0];
}

std::vector<Tensor> out_of_layer(LayerGate* gate, int64_t layer, const std::vector<Tensor>& xs) {
  return gate ? GatePost::apply(at::TensorList(xs), reinterpret_cast<int64_t>(gate), layer, false) : xs;
}

}  // namespace rft
