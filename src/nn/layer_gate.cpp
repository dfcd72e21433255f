#include "rft/nn/layer_gate.h"

#include <ATen/ATen.h>
#include <torch/csrc/autograd/custom_function.h>

namespace rft {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::Variable;
using torch::autograd::variable_list;

/// The identity, and a call on each way.
struct GatePost : torch::autograd::Function<GatePost> {
  static Variable forward(AutogradContext* context, const Variable& x, int64_t gate, int64_t layer, bool in) {
    auto* of = reinterpret_cast<LayerGate*>(gate);
    context->saved_data["gate"] = gate, context->saved_data["layer"] = layer, context->saved_data["in"] = in;
    if (in)
      of->enter(layer, LayerGate::Pass::forward);
    else
      of->leave(layer, LayerGate::Pass::forward);
    return x.view_as(x);
  }

  static variable_list backward(AutogradContext* context, variable_list gradients) {
    auto* of = reinterpret_cast<LayerGate*>(context->saved_data["gate"].toInt());
    int64_t layer = context->saved_data["layer"].toInt();
    if (context->saved_data["in"].toBool())
      of->leave(layer, LayerGate::Pass::backward);
    else
      of->enter(layer, LayerGate::Pass::backward);
    return {gradients[0], {}, {}, {}};
  }
};

}  // namespace

Tensor into_layer(LayerGate* gate, int64_t layer, const Tensor& x) {
  return gate ? GatePost::apply(x, reinterpret_cast<int64_t>(gate), layer, true) : x;
}

Tensor out_of_layer(LayerGate* gate, int64_t layer, const Tensor& x) {
  return gate ? GatePost::apply(x, reinterpret_cast<int64_t>(gate), layer, false) : x;
}

}  // namespace rft
