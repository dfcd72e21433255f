#pragma once
/// What the kernels of decode_linear() share. K is cut into slices, a slice into 8 consecutive segments of whole
/// 32-chunks, the last ones shorter or empty. A segment is summed in order by the tensor cores; a slice is
/// ((s0 + s1) + s2 + s3) + ((s4 + s5) + s6 + s7), whichever warps sum the segments.
#include "kernels/decode_linear.h"
#include "kernels/device.h"

namespace rft::kernels {

constexpr int kSegments = 8;
constexpr int kChunk = 32;  ///< inputs that a lane quad loads at once, 8 a lane
constexpr int kTile = 16;   ///< outputs of an mma
constexpr int kLinearThreads = 256;

/// Where a block's slice lies in K.
struct Slice {
  int first, end;  ///< columns
  int chunks;      ///< of 32, the last one perhaps partial
  int each;        ///< chunks of a segment
};
RFT_HOST_DEVICE Slice slice_of(int inner, int slices, int index) {
  const int chunks = (inner + kChunk - 1) / kChunk, each = (chunks + slices - 1) / slices;
  Slice s;
  s.first = index * each * kChunk;
  s.end = s.first + each * kChunk < inner ? s.first + each * kChunk : inner;
  s.chunks = s.end > s.first ? (s.end - s.first + kChunk - 1) / kChunk : 0;
  s.each = (each + kSegments - 1) / kSegments;
  return s;
}

/// Row of the weight behind row r of a tile: for a gate 8 of gate, then the 8 of up that belong to them; -1: none.
__device__ __forceinline__ int weight_row(const DecodeLinear& a, int tile, int r) {
  if (a.gate == Gate::none) {
    const int row = tile * kTile + r;
    return row < a.rows ? row : -1;
  }
  const int half = a.rows / 2, row = tile * (kTile / 2) + r % 8;
  return row >= half ? -1 : r < 8 ? row : half + row;
}
RFT_HOST_DEVICE int tiles_of(const DecodeLinear& a) { return (a.rows + kTile - 1) / kTile; }

/// 16 bytes at p, or zeros.
__device__ __forceinline__ uint4 load16_or_zeros(const bf16* p, bool there) {
  return there ? load16_once(p) : make_uint4(0, 0, 0, 0);
}

/// d += (16 weight rows) (8 tokens)^T over a chunk. Each lane holds 8 consecutive inputs of rows g and g + 8 and of
/// token g; which of them meet in which step does not matter so long as both sides agree.
__device__ __forceinline__ void mma_chunk(float (&d)[4], const uint4 (&w)[2], const uint4& x) {
  const uint32_t first[4] = {w[0].x, w[1].x, w[0].y, w[1].y}, second[4] = {w[0].z, w[1].z, w[0].w, w[1].w};
  const uint32_t x_first[2] = {x.x, x.y}, x_second[2] = {x.z, x.w};
  mma_bf16(d, first, x_first);
  mma_bf16(d, second, x_second);
}

__device__ __forceinline__ float gated_value(Gate gate, float x, float up) {
  x = to_float(from_float<bf16>(x)), up = to_float(from_float<bf16>(up));  // as the trainer rounds them
  float y;
  if (gate == Gate::silu) {
    y = x / (1 + __expf(-x));
  } else if (gate == Gate::gelu_tanh) {
    y = 0.5f * x * (1 + tanhf(0.7978845608028654f * (x + 0.044715f * x * x * x)));
  } else {
    y = 0.5f * x * (1 + erff(0.7071067811865476f * x));
  }
  return to_float(from_float<bf16>(y)) * up;
}

/// Writes output `column` of a token: the sum, with the bias in the first slice.
__device__ __forceinline__ void store_sum(const DecodeLinear& a, int slice, int token, int row, float sum) {
  if (a.bias && slice == 0) sum += to_float(static_cast<const bf16*>(a.bias)[row]);
  static_cast<float*>(a.y)[(int64_t{slice} * a.tokens + token) * a.rows + row] = sum;
}
__device__ __forceinline__ void store_gated(const DecodeLinear& a, int token, int column, float gate, float up) {
  const int half = a.rows / 2;
  if (a.bias) {
    gate += to_float(static_cast<const bf16*>(a.bias)[column]);
    up += to_float(static_cast<const bf16*>(a.bias)[half + column]);
  }
  static_cast<bf16*>(a.y)[int64_t{token} * half + column] = from_float<bf16>(gated_value(a.gate, gate, up));
}

int decode_linear_narrow(const DecodeLinear& a, void* stream);

}  // namespace rft::kernels
