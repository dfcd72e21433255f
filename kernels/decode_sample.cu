#include "kernels/decode_filter.h"
#include "kernels/decode_sample.h"

namespace rft::kernels {
namespace {

constexpr int kChunkThreads = 256, kEach = kSampleChunk / kChunkThreads;

RFT_HOST_DEVICE int chunks_of(int vocab) { return (vocab + kSampleChunk - 1) / kSampleChunk; }

__device__ float block_max(float x, float* scratch) {
  x = warp_max(x);
  __syncthreads();
  if (threadIdx.x % 32 == 0) scratch[threadIdx.x / 32] = x;
  __syncthreads();
  return warp_max(threadIdx.x % 32 < blockDim.x / 32 ? scratch[threadIdx.x % 32] : -INFINITY);
}

/// Sums over a chunk of a row.
__global__ void __launch_bounds__(kChunkThreads) measure(const DecodeSample a) {
  __shared__ float scratch[32];
  let_next_start();
  wait_for_previous();
  const int n = static_cast<int>(blockIdx.y), slot = a.slot ? a.slot[n] : n;
  if (a.position[slot] < 0) return;
  const ChoiceRow row = choice_row(a, n, slot);
  const auto scale = static_cast<float>(a.slots[slot].scale);
  const int first = static_cast<int>(blockIdx.x) * kSampleChunk + static_cast<int>(threadIdx.x);
  float z[kEach], choice[kEach], max = -INFINITY, choice_max = -INFINITY;
#pragma unroll
  for (int i = 0; i < kEach; ++i) {
    const int id = first + i * kChunkThreads;
    z[i] = id < a.vocab ? row.logit(id) : -INFINITY;
    choice[i] = id < a.vocab ? row.penalised(z[i], id) : -INFINITY;
    max = fmaxf(max, z[i]), choice_max = fmaxf(choice_max, choice[i]);
  }
  max = block_max(max, scratch);
  float sum = 0, weighted = 0;
#pragma unroll
  for (int i = 0; i < kEach; ++i) {
    if (first + i * kChunkThreads >= a.vocab) break;
    const float x = scale * (z[i] - max), e = __expf(x);
    sum += e, weighted += e > 0 ? e * x : e;
  }
  sum = block_sum(sum, scratch), weighted = block_sum(weighted, scratch);
  float choice_sum = sum;
  if (row.seen) {
    choice_max = block_max(choice_max, scratch), choice_sum = 0;
#pragma unroll
    for (int i = 0; i < kEach; ++i)
      if (first + i * kChunkThreads < a.vocab) choice_sum += __expf(scale * (choice[i] - choice_max));
    choice_sum = block_sum(choice_sum, scratch);
  } else {
    choice_max = max;
  }
  if (threadIdx.x == 0) a.sums[int64_t{n} * gridDim.x + blockIdx.x] = {max, sum, weighted, choice_max, choice_sum};
}

/// A row's sums, of all chunks.
struct RowSums {
  float max, choice_max;
  double total, weighted, choice_total;
  bool finite;
};

/// The first warp calls it.
__device__ RowSums row_sums(const SampleSums* sums, int chunks, double scale) {
  const int lane = static_cast<int>(threadIdx.x) % 32;
  RowSums out{-INFINITY, -INFINITY, 0, 0, 0, true};
  for (int c = lane; c < chunks; c += 32) {
    out.max = fmaxf(out.max, sums[c].max), out.choice_max = fmaxf(out.choice_max, sums[c].choice_max);
  }
  out.max = warp_max(out.max), out.choice_max = warp_max(out.choice_max);
  for (int c = lane; c < chunks; c += 32) {
    const double x = scale * (static_cast<double>(sums[c].max) - out.max), e = exp(x);
    if (e > 0) out.total += e * sums[c].sum, out.weighted += e * (sums[c].weighted + sums[c].sum * x);
    out.choice_total += exp(scale * (static_cast<double>(sums[c].choice_max) - out.choice_max)) * sums[c].choice_sum;
  }
  for (int offset = 16; offset > 0; offset /= 2) {
    out.total += __shfl_xor_sync(0xffffffffu, out.total, offset);
    out.weighted += __shfl_xor_sync(0xffffffffu, out.weighted, offset);
    out.choice_total += __shfl_xor_sync(0xffffffffu, out.choice_total, offset);
  }
  const double all = out.total + out.choice_total + static_cast<double>(out.max) + static_cast<double>(out.choice_max);
  out.finite = all - all == 0;
  return out;
}

struct ChooseRoom {
  RowSums sums;
  Passed passed;
  int chosen;
  FilterRoom filter;
};

/// The lowest id whose logit is the largest.
__device__ void choose_likeliest(const ChoiceRow& row, const SampleSums* sums, int chunks, ChooseRoom& room) {
  if (threadIdx.x == 0) {
    int c = 0;
    while (c < chunks - 1 && sums[c].choice_max != room.sums.choice_max) ++c;
    room.passed.index = c, room.chosen = row.vocab - 1;
  }
  __syncthreads();
  const int first = room.passed.index * kSampleChunk;
  int lowest = row.vocab;
  for (int i = static_cast<int>(threadIdx.x); i < kSampleChunk && first + i < row.vocab; i += kSampleThreads)
    if (lowest == row.vocab && row.choice(first + i) == room.sums.choice_max) lowest = first + i;
  if (lowest < row.vocab) atomicMin(&room.chosen, lowest);
  __syncthreads();
}

/// An id by its weight alone: first its chunk, then the id in it.
__device__ void choose_any(const ChoiceRow& row, const SampleSums* sums, int chunks, double scale, double uniform,
                           ChooseRoom& room) {
  if (threadIdx.x < 32) {
    const double target = uniform * room.sums.choice_total;
    auto of_chunk = [&](int c) {
      return exp(scale * (static_cast<double>(sums[c].choice_max) - room.sums.choice_max)) * sums[c].choice_sum;
    };
    const Passed passed = where_passed(chunks, target, of_chunk);
    if (threadIdx.x == 0) room.passed = passed;
  }
  // Weights of the chunk, before one warp looks through them.
  auto* weights = reinterpret_cast<float*>(room.filter.bins);
  static_assert(kSampleChunk * sizeof(float) <= sizeof(room.filter.bins));
  __syncthreads();
  const int first = room.passed.index * kSampleChunk;
  const int count = row.vocab - first < kSampleChunk ? row.vocab - first : kSampleChunk;
  for (int i = static_cast<int>(threadIdx.x); i < count; i += kSampleThreads)
    weights[i] = __expf(static_cast<float>(scale) * (row.choice(first + i) - room.sums.choice_max));
  __syncthreads();
  if (threadIdx.x >= 32) return;
  const Passed passed = where_passed(count, room.passed.left, [&](int i) { return static_cast<double>(weights[i]); });
  if (threadIdx.x == 0) room.chosen = first + passed.index;
}

/// Writes the token down and moves the slot on.
__device__ void take(const DecodeSample& a, const ChoiceRow& row, int slot, int id, const RowSums& sums) {
  DecodeSlot& s = a.slots[slot];
  const double log_total = log(sums.total);
  SampledEntry entry;
  entry.id = id;
  entry.logp = static_cast<float>(s.scale * (static_cast<double>(row.logit(id)) - sums.max) - log_total);
  entry.entropy = static_cast<float>(log_total - sums.weighted / sums.total);
  entry.unused = 0;
  a.out[int64_t{slot} * a.ring + s.drawn % a.ring] = entry;
  bool done = s.drawn + 1 >= s.max_new;
  for (int i = 0; i < s.eos_count; ++i) done = done || s.eos[i] == id;
  if (row.seen) a.seen[int64_t{slot} * ((a.vocab + 31) / 32) + id / 32] |= 1u << id % 32;
  a.token[slot] = id, a.position[slot] = done ? -1 : a.position[slot] + 1, ++s.drawn;
}

__global__ void __launch_bounds__(kSampleThreads) choose(const DecodeSample a, int chunks) {
  __shared__ ChooseRoom room;
  let_next_start();
  wait_for_previous();
  const int n = static_cast<int>(blockIdx.x), slot = a.slot ? a.slot[n] : n;
  if (a.position[slot] < 0) return;
  const DecodeSlot s = a.slots[slot];
  const ChoiceRow row = choice_row(a, n, slot);
  const SampleSums* sums = a.sums + int64_t{n} * chunks;
  if (threadIdx.x < 32) {
    const RowSums all = row_sums(sums, chunks, s.scale);
    if (threadIdx.x == 0) room.sums = all;
  }
  __syncthreads();
  if (!room.sums.finite) {
    if (threadIdx.x == 0) *a.failed = 1, a.position[slot] = -1;
    return;
  }
  const double uniform = s.greedy ? 0 : philox_uniform(s.seed, s.stream, static_cast<uint64_t>(s.drawn));
  if (s.greedy) {
    choose_likeliest(row, sums, chunks, room);
  } else if ((s.top_k > 0 && s.top_k < a.vocab) || s.top_p < 1 || s.min_p > 0) {
    const Filter filter{row, room.sums.choice_max, s.scale};
    const Kept kept = filter_row(filter, s, room.filter);
    const int id = draw_kept(filter, kept, uniform, room.filter);
    if (threadIdx.x == 0) room.chosen = id;
  } else {
    choose_any(row, sums, chunks, s.scale, uniform, room);
  }
  __syncthreads();
  if (threadIdx.x == 0) take(a, row, slot, room.chosen, room.sums);
}

}  // namespace

int decode_sample(const DecodeSample& a, void* stream) {
  if (a.count == 0) return 0;
  const int chunks = chunks_of(a.vocab);
  Launch how;
  how.grid = {static_cast<unsigned>(chunks), static_cast<unsigned>(a.count), 1};
  how.threads = kChunkThreads, how.stream = stream, how.overlap = true;
  if (int error = launch(measure, how, a)) return error;
  how.grid = {static_cast<unsigned>(a.count), 1, 1};
  how.threads = kSampleThreads;
  return launch(choose, how, a, chunks);
}

}  // namespace rft::kernels
