/// decode_attention() over float32 pages: a block a token and query head. Models in float32 are small or for tests.
#include "kernels/decode_heads.h"

namespace rft::kernels {
namespace {

constexpr int kThreads = 128;

__global__ void __launch_bounds__(kThreads) attend(const DecodeAttention a) {
  __shared__ float q[256], scores[kThreads], scratch[32];
  const int token = static_cast<int>(blockIdx.x), head = static_cast<int>(blockIdx.y);
  const int kv_head = head / (a.heads / a.kv_heads), thread = static_cast<int>(threadIdx.x);
  let_next_start();
  wait_for_previous();
  const int position = a.position[token];
  if (position < 0) return;
  if (thread < 32) prepare_head(a, token, head, a.q_norm, true, position, q);
  __syncthreads();
  const Visible visible = visible_at(position, a.window);
  const int padded = padded_head(a.head_dim), *pages = pages_of(a, token);
  float largest = -INFINITY, sum = 0, out[2] = {};
  for (int start = visible.first_page * kPagePositions; start < visible.length; start += kThreads) {
    const int at = start + thread;
    float score = -INFINITY;
    if (at >= visible.first && at < visible.length) {
      const float* key = page_keys<float>(a, pages[at / kPagePositions], kv_head) + at % kPagePositions * padded;
      score = 0;
      for (int d = 0; d < a.head_dim; ++d) score += q[d] * key[d];
      score *= a.scale;
      if (a.softcap > 0) score = a.softcap * tanhf(score / a.softcap);
    }
    scores[thread] = score;
    __syncthreads();
    float next = largest;
    for (int i = 0; i < kThreads; ++i) next = fmaxf(next, scores[i]);
    const float shrink = expf(largest - next), weight = expf(score - next);
    __syncthreads();
    scores[thread] = weight;
    sum = sum * shrink + block_sum(weight, scratch), largest = next;
    for (int j = 0, d = thread; d < a.head_dim; ++j, d += kThreads) {
      float added = 0;
      for (int i = 0; i < kThreads && start + i < visible.length; ++i) {
        const float* values = page_values<float>(a, pages[(start + i) / kPagePositions], kv_head);
        added += scores[i] * values[d * kPagePositions + (start + i) % kPagePositions];
      }
      out[j] = out[j] * shrink + added;
    }
    __syncthreads();
  }
  for (int j = 0, d = thread; d < a.head_dim; ++j, d += kThreads)
    static_cast<float*>(a.out)[(int64_t{token} * a.heads + head) * a.head_dim + d] = out[j] / sum;
}

}  // namespace

int decode_attention_float(const DecodeAttention& a, void* stream) {
  if (a.append)
    if (int error = decode_append(a, stream)) return error;
  Launch how;
  how.grid = {static_cast<unsigned>(a.tokens), static_cast<unsigned>(a.heads), 1};
  how.threads = kThreads, how.stream = stream, how.overlap = true;
  return launch(attend, how, a);
}

}  // namespace rft::kernels
