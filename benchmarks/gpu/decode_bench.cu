// Times the decode kernels by themselves and as whole steps, without LibTorch, on one GPU:
//   nvcc -O3 -std=c++20 -gencode arch=compute_90,code=sm_90 -I. benchmarks/gpu/decode_bench.cu kernels/decode_*.cu \
//     -o decode_bench && ./decode_bench
// Each product's weights are rotated through more memory than the L2 cache holds; times are medians of graph replays.
#include <cuda_runtime.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <vector>

#include "kernels/decode_attention.h"
#include "kernels/decode_linear.h"
#include "kernels/decode_sample.h"
#include "kernels/decode_stream.h"
#include "kernels/device.h"

using namespace rft::kernels;

namespace {

void check(int error, const char* what) {
  if (!error) return;
  std::printf("%s: %s\n", what, cudaGetErrorString(static_cast<cudaError_t>(error)));
  std::exit(1);
}

struct Shape {
  const char* name;
  int layers, width, heads, kv_heads, head_dim, inner, vocab;
  int qkv() const { return (heads + 2 * kv_heads) * head_dim; }
};
constexpr Shape kShapes[] = {{"0.5B", 24, 896, 14, 2, 64, 4864, 151936}, {"1.5B", 28, 1536, 12, 2, 128, 8960, 151936}};

cudaStream_t stream;

__global__ void fill(bf16* x, size_t n, float scale) {
  for (size_t i = blockIdx.x * size_t{blockDim.x} + threadIdx.x; i < n; i += size_t{gridDim.x} * blockDim.x) {
    unsigned h = static_cast<unsigned>(i) * 2654435761u;
    h ^= h >> 15, h *= 2246822519u, h ^= h >> 13;
    x[i] = __float2bfloat16(scale * (static_cast<float>(h & 0xffff) / 32768.0f - 1));
  }
}
bf16* numbers(size_t n, float scale) {
  bf16* p;
  check(cudaMalloc(&p, n * 2 + 256), "cudaMalloc");
  fill<<<1024, 256, 0, stream>>>(p, n, scale);
  return p;
}
template <class T>
T* room(size_t n) {
  T* p;
  check(cudaMalloc(&p, n * sizeof(T) + 256), "cudaMalloc");
  check(cudaMemsetAsync(p, 0, n * sizeof(T) + 256, stream), "cudaMemset");
  return p;
}

/// Median microseconds of a replay of `work`.
double timed(const std::function<void()>& work, int repeats = 15) {
  work();
  check(cudaStreamSynchronize(stream), "first run");
  cudaGraph_t graph;
  cudaGraphExec_t exec;
  check(cudaStreamBeginCapture(stream, cudaStreamCaptureModeGlobal), "capture");
  work();
  check(cudaStreamEndCapture(stream, &graph), "capture");
  check(cudaGraphInstantiate(&exec, graph, 0), "instantiate");
  cudaEvent_t a, b;
  cudaEventCreate(&a), cudaEventCreate(&b);
  std::vector<float> times;
  for (int i = 0; i < repeats + 3; ++i) {
    cudaEventRecord(a, stream);
    cudaGraphLaunch(exec, stream);
    cudaEventRecord(b, stream);
    check(cudaEventSynchronize(b), "replay");
    float ms;
    cudaEventElapsedTime(&ms, a, b);
    if (i >= 3) times.push_back(ms * 1000);
  }
  cudaGraphExecDestroy(exec), cudaGraphDestroy(graph), cudaEventDestroy(a), cudaEventDestroy(b);
  std::nth_element(times.begin(), times.begin() + repeats / 2, times.end());
  return times[repeats / 2];
}

/// One product over rotating copies of its weight: microseconds of one.
void time_product(const char* name, int rows, int inner, int tokens, int slices, Gate gate, bool norm, int blocks) {
  const size_t size = size_t{static_cast<unsigned>(rows)} * inner;
  const int copies = static_cast<int>(std::clamp<size_t>((size_t{400} << 20) / (size * 2), 2, 100));
  bf16 *weight = numbers(size * copies, 0.05f), *x = numbers(size_t(tokens) * inner, 1), *scale = numbers(inner, 1);
  float *s = room<float>(size_t(tokens) * inner), *y = room<float>(size_t(tokens) * rows * slices);
  int next = 0;
  auto once = [&] {
    DecodeLinear a;
    a.x = x, a.weight = weight + size * (next++ % copies), a.y = y, a.tokens = tokens, a.rows = rows, a.inner = inner;
    a.slices = slices, a.gate = gate, a.blocks = blocks;
    if (norm) a.norm.stream = s, a.norm.weight = scale, a.norm.eps = 1e-6f;
    check(decode_linear(a, stream), name);
  };
  const int count = std::max(copies, 20);
  const double us = timed([&] {
                      for (int i = 0; i < count; ++i) once();
                    }) /
                    count;
  std::printf("  %-8s N=%-6d K=%-5d S=%-3d slices=%d norm=%d blocks=%-4d %8.2f us %7.0f GB/s\n", name, rows, inner,
              tokens, slices, norm, blocks, us, size * 2 / us * 1e-3);
  cudaFree(weight), cudaFree(x), cudaFree(scale), cudaFree(s), cudaFree(y);
}

struct Model {
  Shape shape;
  int tokens, length, splits, out_slices, down_slices, blocks;
  bf16 *qkv_w, *out_w, *up_w, *down_w, *table, *scale, *pool;
  bf16 *x, *attended, *gated;
  float *stream_a, *stream_b, *qkv, *parts_out, *parts_down, *logits, *split_parts;
  int *pages, *position, *token, *arrived, *failed;
  float* inv_freq;
  int width_pages;
  int64_t page_stride;
  DecodeSlot* slots;
  SampleSums* sums;
  SampledEntry* out;

  Model(const Shape& s, int count, int len) : shape(s), tokens(count), length(len) {
    const size_t L = s.layers, D = s.width, S = count;
    out_slices = decode_slices(s.width, s.heads * s.head_dim), down_slices = decode_slices(s.width, s.inner);
    blocks = 0;
    qkv_w = numbers(L * s.qkv() * D, 0.03f), out_w = numbers(L * D * s.heads * s.head_dim, 0.03f);
    up_w = numbers(L * 2 * s.inner * D, 0.03f), down_w = numbers(L * D * s.inner, 0.03f);
    table = numbers(size_t(s.vocab) * D, 0.03f), scale = numbers(D, 1);
    x = numbers(S * s.inner, 1), attended = numbers(S * s.heads * s.head_dim, 1), gated = numbers(S * s.inner, 1);
    stream_a = room<float>(S * D), stream_b = room<float>(S * D), qkv = room<float>(S * s.qkv());
    parts_out = room<float>(8 * S * D), parts_down = room<float>(8 * S * D), logits = room<float>(S * s.vocab);
    splits = attention_splits(length + 64);
    split_parts = room<float>(attention_parts(count, s.heads, s.head_dim, std::max(2, splits)));
    arrived = room<int>(S * s.heads), failed = room<int>(1);
    width_pages = (length + 64) / 32 + 1;
    page_stride = L * page_layer_numbers(s.kv_heads, s.head_dim);
    pool = numbers(S * width_pages * page_stride, 0.5f);
    std::vector<int> table_host(S * width_pages), at(S, length);
    for (size_t i = 0; i < table_host.size(); ++i) table_host[i] = static_cast<int>((i * 7919) % table_host.size());
    pages = room<int>(table_host.size()), position = room<int>(S), token = room<int>(S);
    cudaMemcpyAsync(pages, table_host.data(), table_host.size() * 4, cudaMemcpyHostToDevice, stream);
    cudaMemcpyAsync(position, at.data(), S * 4, cudaMemcpyHostToDevice, stream);
    std::vector<float> freq(s.head_dim / 2, 0.01f);
    inv_freq = room<float>(freq.size());
    cudaMemcpyAsync(inv_freq, freq.data(), freq.size() * 4, cudaMemcpyHostToDevice, stream);
    std::vector<DecodeSlot> host(S);
    for (auto& slot : host) slot.max_new = 1 << 30;
    slots = room<DecodeSlot>(S), sums = room<SampleSums>(S * (s.vocab / kSampleChunk + 1)),
    out = room<SampledEntry>(S * 64);
    cudaMemcpyAsync(slots, host.data(), S * sizeof(DecodeSlot), cudaMemcpyHostToDevice, stream);
    check(cudaStreamSynchronize(stream), "set-up");
  }
  ~Model() {
    for (void* p : std::initializer_list<void*>{qkv_w,      out_w,    up_w,        down_w,   table,    scale, pool,
                                                x,          attended, gated,       stream_a, stream_b, qkv,   parts_out,
                                                parts_down, logits,   split_parts, pages,    position, token, arrived,
                                                failed,     inv_freq, slots,       sums,     out})
      cudaFree(p);
  }

  void product(const bf16* w, const void* in, const StreamNorm& norm, void* y, int rows, int inner, int slices,
               Gate gate) {
    DecodeLinear a;
    a.weight = w, a.x = in, a.y = y, a.rows = rows, a.inner = inner, a.slices = slices, a.gate = gate,
    a.tokens = tokens;
    a.blocks = blocks;
    if (norm.stream && tokens > 2) {
      check(decode_norm(norm, tokens, inner, x, stream), "norm");
      a.x = x;
    } else {
      a.norm = norm;
    }
    check(decode_linear(a, stream), "product");
  }
  StreamNorm norm_of(const float* s, const float* parts, int count, float* sum) const {
    StreamNorm n;
    n.stream = s, n.parts = parts, n.count = count, n.weight = scale, n.eps = 1e-6f, n.sum = sum;
    return n;
  }
  void attention(int layer) {
    DecodeAttention a;
    a.qkv = qkv, a.pages = pool + layer * page_layer_numbers(shape.kv_heads, shape.head_dim),
    a.page_stride = page_stride;
    a.table = pages, a.position = position, a.inv_freq = inv_freq, a.turning = shape.head_dim, a.scale = 0.125f;
    a.tokens = tokens, a.heads = shape.heads, a.kv_heads = shape.kv_heads, a.head_dim = shape.head_dim;
    a.table_width = width_pages, a.splits = splits, a.out = attended, a.parts = split_parts, a.arrived = arrived;
    check(decode_attention(a, stream), "attention");
  }
  void layer(int l) {
    const Shape& s = shape;
    const size_t D = s.width, A = s.heads * s.head_dim;
    const bf16 *q = qkv_w + l * s.qkv() * D, *o = out_w + l * D * A, *u = up_w + l * 2 * s.inner * D,
               *d = down_w + l * D * s.inner;
    product(q, nullptr, norm_of(stream_a, parts_down, l ? down_slices : 0, stream_b), qkv, s.qkv(), s.width, 1,
            Gate::none);
    attention(l);
    product(o, attended, {}, parts_out, s.width, A, out_slices, Gate::none);
    product(u, nullptr, norm_of(stream_b, parts_out, out_slices, stream_a), gated, 2 * s.inner, s.width, 1, Gate::silu);
    product(d, gated, {}, parts_down, s.width, s.inner, down_slices, Gate::none);
  }
  void head() {
    product(table, nullptr, norm_of(stream_a, parts_down, down_slices, nullptr), logits, shape.vocab, shape.width, 1,
            Gate::none);
  }
  void sample() {
    DecodeSample a;
    a.logits = logits, a.count = tokens, a.vocab = shape.vocab, a.slots = slots, a.token = token, a.position = position;
    a.sums = sums, a.out = out, a.ring = 64, a.failed = failed;
    check(decode_sample(a, stream), "sample");
  }
  void step() {
    check(decode_embed(table, token, position, 1, tokens, shape.width, stream_a, stream), "embed");
    for (int l = 0; l < shape.layers; ++l) layer(l);
    head(), sample();
  }
  double bytes() const {
    const double D = shape.width, A = shape.heads * shape.head_dim;
    return 2 * (shape.layers * D * (shape.qkv() + A + 3.0 * shape.inner) + shape.vocab * D);
  }
  double kv_bytes() const { return 4.0 * shape.layers * tokens * length * shape.kv_heads * shape.head_dim; }
};

void time_model(const Shape& shape, int tokens, int length) {
  Model m(shape, tokens, length);
  const double gb = m.bytes() * 1e-9, kv = m.kv_bytes() * 1e-9;
  const double step = timed([&] { m.step(); });
  const double layers = timed([&] {
    for (int l = 0; l < shape.layers; ++l) m.layer(l);
  });
  const double attention = timed([&] {
                             for (int l = 0; l < shape.layers; ++l) m.attention(l);
                           }) /
                           shape.layers;
  const double head = timed([&] { m.head(); }), sample = timed([&] { m.sample(); });
  const double bound = (gb + kv) / 3.0e3 * 1e6;
  std::printf("%s S=%d length=%d: step %.1f us; bound at 3.0 TB/s %.1f us (%.0f %%)\n", shape.name, tokens, length,
              step, bound, 100 * bound / step);
  std::printf("    a layer %.2f us, attention %.2f us (%.0f GB/s), head %.1f us (%.0f GB/s), sampling %.1f us\n",
              layers / shape.layers, attention, kv / shape.layers / attention * 1e6, head,
              2e-3 * shape.vocab * shape.width / head, sample);
}

}  // namespace

int main(int argc, char** argv) {
  check(cudaStreamCreate(&stream), "stream");
  const bool brief = argc > 1;
  for (const Shape& s : kShapes) {
    for (int tokens : {1, 8, 16}) time_model(s, tokens, 512);
    if (brief) continue;
    for (int tokens : {1, 8, 16}) {
      time_product("qkv", s.qkv(), s.width, tokens, 1, Gate::none, true, 0);
      for (int slices : {1, 2, 3})
        time_product("out", s.width, s.heads * s.head_dim, tokens, slices, Gate::none, false, 0);
      for (int blocks : {132, 264, 396, 10000}) {
        time_product("gate_up", 2 * s.inner, s.width, tokens, 1, Gate::silu, true, blocks);
      }
      for (int slices : {2, 3, 4, 5, 6}) time_product("down", s.width, s.inner, tokens, slices, Gate::none, false, 0);
      for (int blocks : {132, 264, 396}) {
        time_product("head", s.vocab, s.width, tokens, 1, Gate::none, true, blocks);
      }
    }
  }
  return 0;
}
