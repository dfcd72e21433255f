#pragma once
/// y = x W^T for few tokens, as decoding makes them: the weights are read once, straight into the tensor cores, and
/// each output is summed in an order that depends on the weight's shape alone, so that a token gets the same numbers
/// whatever else is in the batch. S tokens, N outputs, K inputs. bfloat16 weights; sums in float32.
#include <cstdint>

namespace rft::kernels {

/// x = bf16(s / sqrt(mean(s^2) + eps)) * weight with s = stream + parts[0] + parts[1] + ...
struct StreamNorm {
  const float* stream = nullptr;  ///< [S, K]
  const void* parts = nullptr;    ///< [count, S, K] float32, or bfloat16
  int count = 0;
  bool parts_bf16 = false;
  const void* weight = nullptr;  ///< [K] bfloat16
  float eps = 0;
  float* sum = nullptr;  ///< [S, K]: s is written there, unless null; not `stream` itself
};

enum class Gate { none, silu, gelu_tanh, gelu_erf };

struct DecodeLinear {
  const void* x = nullptr;       ///< [S, K] bfloat16, unless norm.stream is given
  StreamNorm norm;               ///< of one slice
  const void* weight = nullptr;  ///< [N, K]; for a gate N = 2 M: M rows of gate, then of up
  const void* bias = nullptr;    ///< [N] bfloat16, or null
  void* y = nullptr;             ///< [slices, S, N] float32, which sum to the result; gate: [S, M] bfloat16
  int tokens = 0, rows = 0, inner = 0;
  int slices = 1;  ///< parts of K that blocks sum by themselves; 1 for a gate
  Gate gate = Gate::none;
  int blocks = 0;  ///< of 16 outputs at once; 0: as many as the GPU runs at once
};

/// The most tokens of a product; of more the library's products are faster (measured on an H100 at 64).
constexpr int kLinearTokens = 16;
/// Returns a cudaError_t, 0 = success. K, and for a gate M, must be a multiple of 8, all pointers at 16 bytes.
int decode_linear(const DecodeLinear& product, void* stream);

/// The longest slice whose inputs of 16 tokens fit in shared memory.
constexpr int kSliceColumns = 6144;
/// Slices of at most kSliceColumns, and such that they keep a GPU's processors busy where N is small.
int decode_slices(int rows, int inner);

}  // namespace rft::kernels
