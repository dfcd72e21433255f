#pragma once
/// Weights that are there only while their layer computes.
#include <cstdint>
#include <vector>

#include "rft/core/tensor.h"

namespace rft {

/// Called by a network around each of its layers, in the forward pass from first to last, in the backward pass from
/// last to first; on the thread that computes. The weights must be there between enter() and leave().
class LayerGate {
 public:
  enum class Pass { forward, backward };
  virtual ~LayerGate() = default;
  virtual void enter(int64_t layer, Pass pass) = 0;
  virtual void leave(int64_t layer, Pass pass) = 0;
};

/// x itself, before the layer computes with it and after. With gradients the backward pass goes through the gate too:
/// in at what the layer gave, out at what it was given. All that connects the layer with the loss must go through both
/// (of several at once, as what a router chose beside the layer's output). `gate` may be null.
Tensor into_layer(LayerGate* gate, int64_t layer, const Tensor& x);
Tensor out_of_layer(LayerGate* gate, int64_t layer, const Tensor& x);
std::vector<Tensor> out_of_layer(LayerGate* gate, int64_t layer, const std::vector<Tensor>& xs);

}  // namespace rft
