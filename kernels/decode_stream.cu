#include "kernels/decode_norm_rows.h"
#include "kernels/decode_stream.h"

namespace rft::kernels {
namespace {

__global__ void __launch_bounds__(kNormThreads)
    embed(const bf16* table, const int* token, const int* position, float scale, int width, float* out) {
  const int n = static_cast<int>(blockIdx.x);
  let_next_start();
  wait_for_previous();
  const bool there = position[n] >= 0;
  const bf16* row = table + int64_t{there ? token[n] : 0} * width;
  for (int d = static_cast<int>(threadIdx.x); d < width; d += kNormThreads)
    out[int64_t{n} * width + d] = there ? to_float(from_float<bf16>(to_float(row[d]) * scale)) : 0.0f;
}

__global__ void __launch_bounds__(kNormThreads) norm(const StreamNorm n, int tokens, int width, bf16* y) {
  __shared__ float scratch[kNormThreads / 32];
  const int token = static_cast<int>(blockIdx.x);
  let_next_start();
  wait_for_previous();
  norm_rows(n, token, 1, tokens, width, n.sum != nullptr, scratch, [&](int, int k, const Pack<bf16, 4>& v) {
    *reinterpret_cast<Pack<bf16, 4>*>(y + int64_t{token} * width + k) = v;
  });
}

Launch row_blocks(int tokens, void* stream) {
  Launch how;
  how.grid = {static_cast<unsigned>(tokens), 1, 1};
  how.threads = kNormThreads, how.stream = stream, how.overlap = true;
  return how;
}

}  // namespace

int decode_embed(const void* table, const int* token, const int* position, float scale, int tokens, int width,
                 float* stream_out, void* stream) {
  return launch(embed, row_blocks(tokens, stream), static_cast<const bf16*>(table), token, position, scale, width,
                stream_out);
}

int decode_norm(const StreamNorm& n, int tokens, int width, void* y, void* stream) {
  return launch(norm, row_blocks(tokens, stream), n, tokens, width, static_cast<bf16*>(y));
}

}  // namespace rft::kernels
