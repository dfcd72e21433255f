// Memory-bound kernels at large shapes beside a plain copy, without LibTorch: a JSON line each.
//   gpu_bench        {"name": ..., "ms": median, "gb_s": bytes that must move / time, "share_of_copy": of the copy's
//   rate}
#include <cuda_runtime.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <string>
#include <vector>

#include "kernels/adamw.h"
#include "kernels/device.h"
#include "kernels/number_type.h"
#include "kernels/rms_norm.h"
#include "kernels/rotary.h"
#include "kernels/swiglu.h"
#include "kernels/token_logp.h"

namespace {

using rft::kernels::NumberType;

void check(int error, const char* what) {
  if (error == 0) return;
  std::fprintf(stderr, "gpu_bench: %s: %s\n", what, cudaGetErrorString(static_cast<cudaError_t>(error)));
  std::exit(1);
}

/// Device memory full of numbers that are small, random and none of them zero.
class Memory {
 public:
  explicit Memory(size_t bytes);
  ~Memory() { cudaFree(at_); }
  Memory(const Memory&) = delete;
  void* get() const { return at_; }
  template <class T>
  T* as() const {
    return static_cast<T*>(at_);
  }

 private:
  void* at_ = nullptr;
};

/// bfloat16 pairs in +-[0.5, 2): as float32 they are numbers of that size too.
__global__ void fill(unsigned* to, size_t count) {
  for (size_t i = size_t{blockIdx.x} * blockDim.x + threadIdx.x; i < count; i += size_t{gridDim.x} * blockDim.x) {
    unsigned h = static_cast<unsigned>(i) * 2654435761u;
    h ^= h >> 15, h *= 2246822519u, h ^= h >> 13;
    to[i] = (h & 0x80FF80FFu) | 0x3F003F00u;
  }
}

Memory::Memory(size_t bytes) {
  check(cudaMalloc(&at_, bytes), "cudaMalloc");
  fill<<<1024, 256>>>(static_cast<unsigned*>(at_), bytes / 4);
}

/// Median milliseconds of `work` over `repeats` timed runs after two that are not.
double median_ms(const std::function<int()>& work, int repeats = 9) {
  cudaEvent_t begin, end;
  cudaEventCreate(&begin), cudaEventCreate(&end);
  std::vector<float> times;
  for (int i = 0; i < repeats + 2; ++i) {
    cudaEventRecord(begin);
    check(work(), "launch");
    cudaEventRecord(end);
    check(cudaEventSynchronize(end), "kernel");
    float ms = 0;
    cudaEventElapsedTime(&ms, begin, end);
    if (i >= 2) times.push_back(ms);
  }
  std::nth_element(times.begin(), times.begin() + times.size() / 2, times.end());
  return times[times.size() / 2];
}

double copy_rate = 0;  // GB/s, bytes read and written

void report(const std::string& name, double bytes, const std::function<int()>& work) {
  double ms = median_ms(work), rate = bytes / ms / 1e6;
  if (name == "copy") copy_rate = rate;
  std::printf("{\"name\": \"%s\", \"ms\": %.4f, \"gb_s\": %.0f, \"share_of_copy\": %.3f}\n", name.c_str(), ms, rate,
              rate / copy_rate);
  std::fflush(stdout);
}

void losses(NumberType type, const char* suffix) {
  constexpr int64_t kRows = 4096, kVocabulary = 151936;
  const size_t size = type == NumberType::float32 ? 4 : 2, bytes = size * kRows * kVocabulary;
  Memory logits(bytes), gradient(size_t{2} * kRows * kVocabulary), row(kRows * 4 * 8);
  auto* numbers = row.as<float>();
  std::vector<int64_t> chosen(kRows);
  for (int64_t i = 0; i < kRows; ++i) chosen[static_cast<size_t>(i)] = i * 37;
  Memory target(kRows * 8);
  check(cudaMemcpy(target.get(), chosen.data(), kRows * 8, cudaMemcpyHostToDevice), "cudaMemcpy");
  report(std::string("token_logp_forward_") + suffix, static_cast<double>(bytes), [&] {
    return rft::kernels::token_logp_forward(logits.get(), type, kVocabulary, target.as<int64_t>(), 1, kRows,
                                            kVocabulary, numbers, numbers + kRows, numbers + 2 * kRows, nullptr);
  });
  report(std::string("token_logp_backward_") + suffix, static_cast<double>(bytes + 2.0 * kRows * kVocabulary), [&] {
    return rft::kernels::token_logp_backward(logits.get(), type, kVocabulary, target.as<int64_t>(), 1, kRows,
                                             kVocabulary, numbers + kRows, numbers + 2 * kRows, numbers + 3 * kRows,
                                             nullptr, gradient.get(), NumberType::bfloat16, nullptr);
  });
}

void layers() {
  constexpr int64_t kTokens = 65536, kSize = 1536, kWidth = 8960, kHeads = 16, kHalf = 64;
  constexpr double kNorm = 2.0 * kTokens * kSize;
  const auto type = NumberType::bfloat16;
  Memory x(kNorm), y(kNorm), dy(kNorm), weight(kSize * 2), scale(kTokens * 4), partial(256 * kSize * 4);
  report("rms_norm_forward", 2 * kNorm, [&] {
    return rft::kernels::rms_norm_forward(x.get(), weight.get(), type, 1e-6f, kTokens, kSize, y.get(),
                                          scale.as<float>(), nullptr);
  });
  report("rms_norm_backward", 3 * kNorm, [&] {
    return rft::kernels::rms_norm_backward(dy.get(), x.get(), weight.get(), type, scale.as<float>(), kTokens, kSize,
                                           y.get(), nullptr, 256, nullptr);
  });
  report("rms_norm_backward_with_weight", 3 * kNorm, [&] {
    return rft::kernels::rms_norm_backward(dy.get(), x.get(), weight.get(), type, scale.as<float>(), kTokens, kSize,
                                           y.get(), partial.as<float>(), 256, nullptr);
  });
  constexpr double kGate = 2.0 * kTokens * kWidth;
  Memory wide(2 * kGate), half(kGate), back(2 * kGate);
  report("swiglu_forward", 3 * kGate,
         [&] { return rft::kernels::swiglu_forward(wide.get(), type, kTokens, kWidth, half.get(), nullptr); });
  report("swiglu_backward", 5 * kGate, [&] {
    return rft::kernels::swiglu_backward(half.get(), wide.get(), type, kTokens, kWidth, back.get(), nullptr);
  });
  constexpr double kTurned = 2.0 * kTokens * kHeads * 2 * kHalf, kAngles = 2.0 * kTokens * kHalf;
  Memory heads(kTurned), turned(kTurned), cos(kAngles), sin(kAngles);
  report("rotary", 2 * kTurned + 2 * kAngles, [&] {
    return rft::kernels::rotary_turn(heads.get(), cos.get(), sin.get(), type,
                                     {kTokens, kHeads, kHeads - 2, kHalf, kHeads * 2 * kHalf}, 1, turned.get(),
                                     nullptr);
  });
}

void optimizer() {
  constexpr int64_t kCount = 200'000'000;
  Memory gradient(kCount * 2), narrow(kCount * 2), master(kCount * 4), mean(kCount * 4), square(kCount * 4);
  report("adamw", 28.0 * kCount, [&] {
    return rft::kernels::adamw(gradient.get(), NumberType::bfloat16, {1e-6f, 0.9f, 0.99f, 0.01f, 1e-8f, 0.1f, 0.1f},
                               kCount, master.as<float>(), mean.as<float>(), square.as<float>(), narrow.get(), nullptr);
  });
}

}  // namespace

int main() {
  {
    constexpr size_t kBytes = size_t{4} << 30;
    Memory from(kBytes), to(kBytes);
    report("copy", 2.0 * kBytes,
           [&] { return cudaMemcpyAsync(to.get(), from.get(), kBytes, cudaMemcpyDeviceToDevice); });
  }
  losses(NumberType::bfloat16, "bf16");
  losses(NumberType::float32, "f32");
  layers();
  optimizer();
}
