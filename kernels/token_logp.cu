#include "kernels/device.h"
#include "kernels/number_type.h"
#include "kernels/token_logp.h"

namespace rft::kernels {
namespace {

constexpr int kThreads = 512;
constexpr int kWarps = kThreads / 32;
constexpr int kBackwardThreads = 256, kPerThread = 16;

__device__ OnlineSoftmax shuffled(const OnlineSoftmax& s, int offset) {
  OnlineSoftmax other;
  other.max = __shfl_xor_sync(0xffffffffu, s.max, offset);
  other.sum = __shfl_xor_sync(0xffffffffu, s.sum, offset);
  other.weighted = __shfl_xor_sync(0xffffffffu, s.weighted, offset);
  return other;
}

/// The sums of all threads of a block, in every thread of the first warp.
__device__ OnlineSoftmax block_sums(OnlineSoftmax own) {
  __shared__ float of_warp[3][kWarps];
  for (int offset = 16; offset > 0; offset /= 2) own = merged(own, shuffled(own, offset));
  int warp = threadIdx.x / 32, lane = threadIdx.x % 32;
  if (lane == 0) of_warp[0][warp] = own.max, of_warp[1][warp] = own.sum, of_warp[2][warp] = own.weighted;
  __syncthreads();
  OnlineSoftmax all;
  if (warp > 0) return all;
  if (lane < kWarps) all.max = of_warp[0][lane], all.sum = of_warp[1][lane], all.weighted = of_warp[2][lane];
  for (int offset = kWarps / 2; offset > 0; offset /= 2) all = merged(all, shuffled(all, offset));
  return all;
}

/// Numbers of one 16-byte access, and how many lie before the first such place of a row.
template <class T>
struct Packs {
  static constexpr int size = 16 / sizeof(T);
  static __device__ int64_t before(const T* row, int64_t count) {
    int64_t numbers = (16 - reinterpret_cast<uintptr_t>(row) % 16) % 16 / static_cast<int64_t>(sizeof(T));
    return numbers < count ? numbers : count;
  }
};

template <class T, int Count>
__device__ void add_packs(OnlineSoftmax& sums, const Pack<T, Packs<T>::size> (&packs)[Count], float to_bits) {
  float z[Count * Packs<T>::size];
#pragma unroll
  for (int p = 0; p < Count; ++p)
#pragma unroll
    for (int i = 0; i < Packs<T>::size; ++i) z[p * Packs<T>::size + i] = to_float(packs[p].at[i]) * to_bits;
  add_logits(sums, z);
}

template <class T>
__global__ void __launch_bounds__(kThreads) forward(const T* logits, int64_t stride, const int64_t* target, float scale,
                                                    int64_t vocabulary, float* logp, float* lse, float* entropy) {
  constexpr int kSize = Packs<T>::size, kAtOnce = 4;  // loads on their way
  const int64_t row = blockIdx.x;
  const T* z = logits + row * stride;
  const float to_bits = scale * kLog2e;
  OnlineSoftmax own;
  auto add_one = [&](int64_t j) {
    float one[1] = {to_float(z[j]) * to_bits};
    add_logits(own, one);
  };
  const int64_t head = Packs<T>::before(z, vocabulary), packs = (vocabulary - head) / kSize;
  const auto* body = reinterpret_cast<const Pack<T, kSize>*>(z + head);
  for (int64_t j = threadIdx.x; j < head; j += kThreads) add_one(j);
  int64_t j = threadIdx.x;
  for (; j + (kAtOnce - 1) * kThreads < packs; j += kAtOnce * kThreads) {
    Pack<T, kSize> some[kAtOnce];
#pragma unroll
    for (int p = 0; p < kAtOnce; ++p) some[p] = body[j + p * kThreads];
    add_packs<T>(own, some, to_bits);
  }
  for (; j < packs; j += kThreads) {
    Pack<T, kSize> some[1] = {body[j]};
    add_packs<T>(own, some, to_bits);
  }
  for (int64_t t = head + packs * kSize + threadIdx.x; t < vocabulary; t += kThreads) add_one(t);
  OnlineSoftmax all = block_sums(own);
  if (threadIdx.x != 0) return;
  const float normalizer = log_normalizer(all);
  const int64_t chosen = target[row];
  const bool known = chosen >= 0 && chosen < vocabulary;
  lse[row] = normalizer;
  logp[row] = known ? to_float(z[chosen]) * scale - normalizer : nanf("");
  entropy[row] = entropy_of(all);
}

/// The gradients of a row; numbers are multiplied by `scale` in both directions.
template <bool WithEntropy>
struct RowGradient {
  int target;  ///< counted from the block's first; outside it where the row's target is
  float to_bits, lse_bits, g, h, entropy;
  __device__ float of(float z, int j) const {
    const float bits = z * to_bits - lse_bits;
    if constexpr (WithEntropy) return logit_gradient(bits, j == target, g, h, entropy);
    return logit_gradient(bits, j == target, g);
  }
};

/// A block computes kPerThread numbers a thread of one row.
template <class T, class G, bool WithEntropy>
__global__ void __launch_bounds__(kBackwardThreads)
    backward(const T* logits, int64_t stride, const int64_t* target, float scale, int64_t vocabulary, int64_t blocks,
             const float* lse, const float* entropy, const float* grad_logp, const float* grad_entropy,
             G* grad_logits) {
  constexpr int kSize = 16 / (sizeof(T) > sizeof(G) ? sizeof(T) : sizeof(G)), kPacks = kPerThread / kSize;
  const int64_t row = blockIdx.x / blocks, first = blockIdx.x % blocks * (kBackwardThreads * kPerThread);
  const T* z = logits + row * stride + first;
  G* out = grad_logits + row * vocabulary + first;
  const int64_t chosen = target[row] - first, left = vocabulary - first;
  const RowGradient<WithEntropy> gradient{chosen >= 0 && chosen < left ? static_cast<int>(chosen) : -1,
                                          scale * kLog2e,
                                          lse[row] * kLog2e,
                                          grad_logp[row] * scale,
                                          WithEntropy ? grad_entropy[row] * scale : 0.0f,
                                          entropy[row]};
  const bool aligned = reinterpret_cast<uintptr_t>(z) % (kSize * sizeof(T)) == 0 &&
                       reinterpret_cast<uintptr_t>(out) % (kSize * sizeof(G)) == 0;
  const int thread = static_cast<int>(threadIdx.x);
  if (aligned && kBackwardThreads * kPerThread <= left) {
    Pack<T, kSize> in[kPacks];
#pragma unroll
    for (int p = 0; p < kPacks; ++p)
      in[p] = *reinterpret_cast<const Pack<T, kSize>*>(z + (p * kBackwardThreads + thread) * kSize);
#pragma unroll
    for (int p = 0; p < kPacks; ++p) {
      const int j = (p * kBackwardThreads + thread) * kSize;
      Pack<G, kSize> made;
#pragma unroll
      for (int i = 0; i < kSize; ++i) made.at[i] = from_float<G>(gradient.of(to_float(in[p].at[i]), j + i));
      *reinterpret_cast<Pack<G, kSize>*>(out + j) = made;
    }
    return;
  }
  const int end = left < kBackwardThreads * kPerThread ? static_cast<int>(left) : kBackwardThreads * kPerThread;
  for (int j = thread; j < end; j += kBackwardThreads) out[j] = from_float<G>(gradient.of(to_float(z[j]), j));
}

}  // namespace

int token_logp_forward(const void* logits, NumberType type, int64_t stride, const int64_t* target, float scale,
                       int64_t rows, int64_t vocabulary, float* logp, float* lse, float* entropy, void* stream) {
  return with_type(type, [&](auto number) {
    using T = decltype(number);
    return launch(forward<T>, {{static_cast<unsigned>(rows)}, kThreads, stream}, static_cast<const T*>(logits), stride,
                  target, scale, vocabulary, logp, lse, entropy);
  });
}

int token_logp_backward(const void* logits, NumberType type, int64_t stride, const int64_t* target, float scale,
                        int64_t rows, int64_t vocabulary, const float* lse, const float* entropy,
                        const float* grad_logp, const float* grad_entropy, void* grad_logits, NumberType grad_type,
                        void* stream) {
  constexpr int64_t kAtOnce = kBackwardThreads * kPerThread;
  const int64_t blocks = (vocabulary + kAtOnce - 1) / kAtOnce;
  return with_type(type, [&](auto number) {
    return with_type(grad_type, [&](auto grad) {
      using T = decltype(number);
      using G = decltype(grad);
      auto start = [&](auto kernel) {
        return launch(kernel, {{static_cast<unsigned>(rows * blocks)}, kBackwardThreads, stream},
                      static_cast<const T*>(logits), stride, target, scale, vocabulary, blocks, lse, entropy, grad_logp,
                      grad_entropy, static_cast<G*>(grad_logits));
      };
      return grad_entropy ? start(&backward<T, G, true>) : start(&backward<T, G, false>);
    });
  });
}

}  // namespace rft::kernels
