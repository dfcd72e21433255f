#pragma once
/// A row of logits as one slot draws from it, and the sums over it.
#include "kernels/decode_sample.h"
#include "kernels/device.h"

namespace rft::kernels {

constexpr int kSampleThreads = 512;

struct ChoiceRow {
  const float* logits;
  const unsigned* seen;  ///< null: no penalty
  int vocab;
  float softcap, penalty;

  /// As the model has it.
  __device__ float logit(int id) const {
    const float z = logits[id];
    return softcap > 0 ? softcap * tanhf(z / softcap) : z;
  }
  __device__ float penalised(float z, int id) const {
    if (!seen || !(seen[id / 32] >> id % 32 & 1)) return z;
    return z < 0 ? z * penalty : z / penalty;
  }
  __device__ float choice(int id) const { return penalised(logit(id), id); }
};

__device__ __forceinline__ ChoiceRow choice_row(const DecodeSample& a, int n, int slot) {
  const DecodeSlot& s = a.slots[slot];
  ChoiceRow row;
  row.logits = a.logits + int64_t{a.row ? a.row[n] : n} * a.vocab;
  row.seen = s.penalty != 1 ? a.seen + int64_t{slot} * ((a.vocab + 31) / 32) : nullptr;
  row.vocab = a.vocab, row.softcap = a.softcap, row.penalty = s.penalty;
  return row;
}

/// Philox 4x32-10 as in rft/core/rng.h: uniform in [0, 1), 53 bits.
RFT_HOST_DEVICE double philox_uniform(uint64_t seed, uint64_t stream, uint64_t position) {
  uint32_t k0 = static_cast<uint32_t>(seed), k1 = static_cast<uint32_t>(seed >> 32);
  uint32_t c0 = static_cast<uint32_t>(position), c1 = static_cast<uint32_t>(position >> 32);
  uint32_t c2 = static_cast<uint32_t>(stream), c3 = static_cast<uint32_t>(stream >> 32);
  for (int round = 0; round < 10; ++round) {
    const uint64_t p0 = uint64_t{0xD2511F53} * c0, p1 = uint64_t{0xCD9E8D57} * c2;
    c0 = static_cast<uint32_t>(p1 >> 32) ^ c1 ^ k0, c1 = static_cast<uint32_t>(p1);
    c2 = static_cast<uint32_t>(p0 >> 32) ^ c3 ^ k1, c3 = static_cast<uint32_t>(p0);
    k0 += 0x9E3779B9u, k1 += 0xBB67AE85u;
  }
  return static_cast<double>((uint64_t{c0} << 21) ^ (c1 >> 11)) * 0x1.0p-53;
}

/// The sum of x over lanes 0 .. this one.
template <class T>
__device__ T warp_scan(T x) {
  const int lane = static_cast<int>(threadIdx.x) % 32;
#pragma unroll
  for (int offset = 1; offset < 32; offset *= 2) {
    const T before = __shfl_up_sync(0xffffffffu, x, static_cast<unsigned>(offset));
    if (lane >= offset) x += before;
  }
  return x;
}

/// The first of `count` weights at which their running sum passes `target`, and what is left of the target there. Where
/// rounding runs past the end, the last with any weight, and all of it. One warp calls it; the same in every lane.
struct Passed {
  int index;
  double left;
};
template <class Weight>
__device__ Passed where_passed(int count, double target, const Weight& weight) {
  const int lane = static_cast<int>(threadIdx.x) % 32, each = (count + 31) / 32;
  const int first = lane * each < count ? lane * each : count, last = first + each < count ? first + each : count;
  double own = 0;
  for (int i = first; i < last; ++i) own += weight(i);
  const double through = warp_scan(own);
  double before = __shfl_up_sync(0xffffffffu, through, 1u);
  if (lane == 0) before = 0;
  unsigned hit = __ballot_sync(0xffffffffu, through > target);
  const bool past = hit == 0;
  if (past) hit = __ballot_sync(0xffffffffu, own > 0);
  const int winner = past ? 31 - __clz(static_cast<int>(hit | 1u)) : __ffs(static_cast<int>(hit)) - 1;
  Passed found{0, 0};
  double left = target - before;
  for (int i = first; i < last; ++i) {
    const double w = weight(i);
    if (w > 0) found.index = i, found.left = past || left > w ? w : left;
    if (!past && left < w) break;
    left -= w;
  }
  found.index = __shfl_sync(0xffffffffu, found.index, winner);
  found.left = __shfl_sync(0xffffffffu, found.left, winner);
  return found;
}

}  // namespace rft::kernels
