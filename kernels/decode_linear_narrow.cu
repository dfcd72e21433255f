/// At most 16 tokens: the 8 warps of a block sum a segment each of 16 outputs at a time; x lies in shared memory.
#include "kernels/decode_linear_parts.h"
#include "kernels/decode_norm_rows.h"

namespace rft::kernels {
namespace {

constexpr int kAhead = 4;   ///< chunks of weights in flight a warp
constexpr int kBlocks = 2;  ///< of a processor at once

/// A lane's weights, chunk by chunk of this warp's segment, tile by tile of this block.
struct WeightStream {
  const DecodeLinear& a;
  int tile, lane, first, end, chunks, each;  ///< first: column of this lane's numbers in chunk 0
  int chunk = 0;
  const bf16 *low = nullptr, *high = nullptr;

  __device__ void enter_tile() {
    const int last = tiles_of(a) - 1, at = tile < last ? tile : last;
    const int g = weight_row(a, at, lane / 4), h = weight_row(a, at, lane / 4 + 8);
    const auto* weight = static_cast<const bf16*>(a.weight);
    low = g < 0 ? nullptr : weight + int64_t{g} * a.inner;
    high = h < 0 ? nullptr : weight + int64_t{h} * a.inner;
  }
  __device__ void load(uint4 (&to)[2]) {
    const int k = first + chunk * kChunk;
    const bool there = chunk < chunks && k < end;
    to[0] = load16_or_zeros(low + k, there && low), to[1] = load16_or_zeros(high + k, there && high);
    if (++chunk == each) chunk = 0, tile += static_cast<int>(gridDim.x), enter_tile();
  }
};

/// Columns of x apart: rows lie 64 bytes apart in the banks, so that two of them are read at once.
RFT_HOST_DEVICE int x_stride(const Slice& slice) { return (slice.chunks * kChunk + 63) / 64 * 64 + 32; }

__device__ void load_x(const DecodeLinear& a, const Slice& slice, bf16* x, float* scratch) {
  const int stride = x_stride(slice), width = slice.end - slice.first, padded = slice.chunks * kChunk;
  const int thread = static_cast<int>(threadIdx.x);
  for (int t = 0; t < a.tokens; ++t)
    for (int k = width + thread; k < padded; k += kLinearThreads) x[t * stride + k] = from_float<bf16>(0.0f);
  if (a.norm.stream) {
    norm_rows(
        a.norm, 0, a.tokens, a.tokens, a.inner, a.norm.sum && blockIdx.x == 0, scratch,
        [&](int row, int k, const Pack<bf16, 4>& y) { *reinterpret_cast<Pack<bf16, 4>*>(x + row * stride + k) = y; });
    return;
  }
  for (int i = thread; i < a.tokens * (width / 8); i += kLinearThreads) {
    const int t = i / (width / 8), k = i % (width / 8) * 8;
    *reinterpret_cast<uint4*>(x + t * stride + k) =
        *reinterpret_cast<const uint4*>(static_cast<const bf16*>(a.x) + int64_t{t} * a.inner + slice.first + k);
  }
}

/// Sums the segments of a tile, [8][16][8 NT + 1], and writes its outputs.
template <int NT>
__device__ void finish(const DecodeLinear& a, int tile, const float* sums) {
  constexpr int kStride = 8 * NT + 1, kSegment = kTile * kStride;
  const int e = static_cast<int>(threadIdx.x), r = e % kTile, token = e / kTile;
  if (token >= a.tokens || token >= 8 * NT) return;
  auto sum_of = [&](int row) {
    const float* s = sums + row * kStride + token;
    const float low = ((s[0] + s[kSegment]) + s[2 * kSegment]) + s[3 * kSegment];
    const float high = ((s[4 * kSegment] + s[5 * kSegment]) + s[6 * kSegment]) + s[7 * kSegment];
    return low + high;
  };
  const int row = weight_row(a, tile, r);
  if (row < 0) return;
  if (a.gate == Gate::none) {
    store_sum(a, static_cast<int>(blockIdx.y), token, row, sum_of(r));
  } else if (r < 8) {
    store_gated(a, token, row, sum_of(r), sum_of(r + 8));
  }
}

template <int NT>
__global__ void __launch_bounds__(kLinearThreads, kBlocks) narrow(const DecodeLinear a) {
  RFT_DYNAMIC_SHARED(shared);
  constexpr int kStride = 8 * NT + 1, kSums = kSegments * kTile * kStride;
  __shared__ float sums[2 * kSums];
  auto* x = reinterpret_cast<bf16*>(shared);
  const int lane = static_cast<int>(threadIdx.x) % 32, warp = static_cast<int>(threadIdx.x) / 32;
  const Slice slice = slice_of(a.inner, a.slices, static_cast<int>(blockIdx.y));
  const int tiles = tiles_of(a), blocks = static_cast<int>(gridDim.x), own = static_cast<int>(blockIdx.x);
  const int column = warp * slice.each * kChunk + lane % 4 * 8;  // of the slice
  WeightStream weights{a, own, lane, slice.first + column, slice.end, slice.chunks - warp * slice.each, slice.each};
  let_next_start();
  weights.enter_tile();
  const int total = (tiles - own + blocks - 1) / blocks * slice.each;
  uint4 ring[kAhead][2];
#pragma unroll
  for (int u = 0; u < kAhead; ++u)
    if (u < total) weights.load(ring[u]);
  wait_for_previous();
  load_x(a, slice, x, sums);
  __syncthreads();

  const bf16* rows[NT];
#pragma unroll
  for (int n = 0; n < NT; ++n) {
    const int token = lane / 4 + 8 * n;
    rows[n] = x + (token < a.tokens ? token : a.tokens - 1) * x_stride(slice) + column;
  }
  float sum[NT][4] = {};
  const int valid = slice.chunks - warp * slice.each;
  int chunk = 0, tile = own, side = 0;
  for (int i = 0; i < total; i += kAhead) {
#pragma unroll
    for (int u = 0; u < kAhead; ++u) {
      if (i + u >= total) break;
      if (chunk < valid) {
#pragma unroll
        for (int n = 0; n < NT; ++n)
          mma_chunk(sum[n], ring[u], *reinterpret_cast<const uint4*>(rows[n] + chunk * kChunk));
      }
      if (i + u + kAhead < total) weights.load(ring[u]);
      if (++chunk < slice.each) continue;
      float* to = sums + side * kSums + warp * kTile * kStride + lane / 4 * kStride + lane % 4 * 2;
#pragma unroll
      for (int n = 0; n < NT; ++n) {
        to[8 * n] = sum[n][0], to[8 * n + 1] = sum[n][1];
        to[8 * kStride + 8 * n] = sum[n][2], to[8 * kStride + 8 * n + 1] = sum[n][3];
        sum[n][0] = sum[n][1] = sum[n][2] = sum[n][3] = 0;
      }
      __syncthreads();
      finish<NT>(a, tile, sums + side * kSums);
      chunk = 0, tile += blocks, side ^= 1;
    }
  }
}

template <int NT>
int start(const DecodeLinear& a, void* stream) {
  Launch how;
  const Slice slice = slice_of(a.inner, a.slices, 0);
  const int tiles = tiles_of(a), most = a.blocks ? a.blocks : 132 * kBlocks;
  how.grid = {static_cast<unsigned>(tiles < most ? tiles : most), static_cast<unsigned>(a.slices), 1};
  how.threads = kLinearThreads, how.stream = stream, how.overlap = true;
  how.shared = static_cast<std::size_t>(a.tokens * x_stride(slice)) * sizeof(bf16);
  return launch(narrow<NT>, how, a);
}

}  // namespace

int decode_linear_narrow(const DecodeLinear& a, void* stream) {
  return a.tokens <= 8 ? start<1>(a, stream) : start<2>(a, stream);
}

}  // namespace rft::kernels
