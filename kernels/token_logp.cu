#include <cuda_runtime.h>

#include "kernels/token_logp.h"

namespace rft::kernels {
namespace {

constexpr int kThreads = 256;
constexpr int kWarps = kThreads / 32;

__device__ OnlineSoftmax shuffled(const OnlineSoftmax& s, int offset) {
  OnlineSoftmax other;
  other.max = __shfl_xor_sync(0xffffffffu, s.max, offset);
  other.sum = __shfl_xor_sync(0xffffffffu, s.sum, offset);
  other.weighted = __shfl_xor_sync(0xffffffffu, s.weighted, offset);
  return other;
}

/// The sums of all threads of a block, in every thread of the first warp.
__device__ OnlineSoftmax block_sums(OnlineSoftmax own) {
  __shared__ OnlineSoftmax of_warp[kWarps];
  for (int offset = 16; offset > 0; offset /= 2) own = merged(own, shuffled(own, offset));
  if (threadIdx.x % 32 == 0) of_warp[threadIdx.x / 32] = own;
  __syncthreads();
  OnlineSoftmax all = threadIdx.x < kWarps ? of_warp[threadIdx.x] : OnlineSoftmax{};
  if (threadIdx.x < 32)
    for (int offset = kWarps / 2; offset > 0; offset /= 2) all = merged(all, shuffled(all, offset));
  return all;
}

__global__ void forward(const float* logits, const int64_t* target, float scale, int64_t vocabulary, float* logp,
                        float* lse, float* entropy) {
  const int64_t row = blockIdx.x;
  const float* z = logits + row * vocabulary;
  OnlineSoftmax own;
  for (int64_t j = threadIdx.x; j < vocabulary; j += kThreads) own = merged(own, one_logit(z[j] * scale));
  OnlineSoftmax all = block_sums(own);
  if (threadIdx.x != 0) return;
  float normalizer = log_normalizer(all);
  lse[row] = normalizer;
  logp[row] = z[target[row]] * scale - normalizer;
  if (entropy) entropy[row] = entropy_of(all);
}

__global__ void backward(const float* logits, const int64_t* target, float scale, int64_t vocabulary, const float* lse,
                         const float* entropy, const float* grad_logp, const float* grad_entropy, float* grad_logits) {
  const int64_t row = blockIdx.y, j = int64_t(blockIdx.x) * kThreads + threadIdx.x;
  if (j >= vocabulary) return;
  float h = grad_entropy ? grad_entropy[row] : 0.0f, rows_entropy = grad_entropy ? entropy[row] : 0.0f;
  grad_logits[row * vocabulary + j] = scale * logit_gradient(logits[row * vocabulary + j] * scale, lse[row],
                                                             j == target[row], grad_logp[row], h, rows_entropy);
}

}  // namespace

int token_logp_forward(const float* logits, const int64_t* target, float inverse_temperature, int64_t rows,
                       int64_t vocabulary, float* logp, float* lse, float* entropy, void* stream) {
  if (rows == 0) return cudaSuccess;
  forward<<<static_cast<unsigned>(rows), kThreads, 0, static_cast<cudaStream_t>(stream)>>>(
      logits, target, inverse_temperature, vocabulary, logp, lse, entropy);
  return cudaGetLastError();
}

int token_logp_backward(const float* logits, const int64_t* target, float inverse_temperature, int64_t rows,
                        int64_t vocabulary, const float* lse, const float* entropy, const float* grad_logp,
                        const float* grad_entropy, float* grad_logits, void* stream) {
  constexpr int64_t kRows = 65535;  // the largest grid height
  for (int64_t first = 0; first < rows; first += kRows) {
    int64_t count = rows - first < kRows ? rows - first : kRows;
    dim3 grid(static_cast<unsigned>((vocabulary + kThreads - 1) / kThreads), static_cast<unsigned>(count));
    backward<<<grid, kThreads, 0, static_cast<cudaStream_t>(stream)>>>(
        logits + first * vocabulary, target + first, inverse_temperature, vocabulary, lse + first,
        entropy ? entropy + first : nullptr, grad_logp + first, grad_entropy ? grad_entropy + first : nullptr,
        grad_logits + first * vocabulary);
    if (int error = cudaGetLastError()) return error;
  }
  return cudaSuccess;
}

}  // namespace rft::kernels
