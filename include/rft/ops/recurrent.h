#pragma once
#include "rft/core/tensor.h"

namespace rft::ops {

/// Weights of one recurrent layer, as torch.nn.LSTM and GRU have them: [G, in], [G, H], [G], [G] with G = 4 H (input,
/// forget, cell, output) or 3 H (reset, update, new).
struct RecurrentWeights {
  Tensor input, state, input_bias, state_bias;
};

/// Outputs [B, T, H] of an LSTM along x [B, T, in] from `state` [B, 2 H] (output, cell), and of a GRU from `state` [B,
/// H]; where keep [B, T] is 0 the state is zero before the step, elsewhere keep is 1. float32 on the CPU. One node of
/// the graph, differentiable in the weights; not in x, state and keep: nothing that is learned lies before them. A node
/// for every product of every step would take longer than the products of networks for control.
Tensor lstm(const Tensor& x, const Tensor& state, const Tensor& keep, const RecurrentWeights& weights);
Tensor gru(const Tensor& x, const Tensor& state, const Tensor& keep, const RecurrentWeights& weights);

}  // namespace rft::ops
