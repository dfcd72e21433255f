#pragma once
/// Top-k, top-p and min-p without sorting: floors are found digit by digit, weights are whole numbers, so that sums
/// have no order. For a block of kSampleThreads threads.
#include "kernels/decode_choice.h"

namespace rft::kernels {

using Mass = unsigned long long;  ///< weights times 2^40: a vocabulary's sum stays below 2^63

/// Numbers in the order of the floats.
RFT_HOST_DEVICE unsigned float_key(unsigned bits) { return bits & 0x80000000u ? ~bits : bits | 0x80000000u; }
RFT_HOST_DEVICE unsigned key_bits(unsigned key) { return key & 0x80000000u ? key & 0x7fffffffu : ~key; }
__device__ __forceinline__ unsigned key_of(float z) { return float_key(__float_as_uint(z)); }

/// What the filters leave: keys above `floor`, and the first `ties` of those that equal it.
struct Kept {
  unsigned floor = 0;
  Mass ties = ~Mass{0};
};

struct Filter {
  const ChoiceRow& row;
  float max;     ///< of the row
  double scale;  ///< 1 / temperature

  /// At least 1: what the filters keep can be drawn.
  __device__ Mass mass(float z) const {
    const double w = static_cast<double>(__expf(static_cast<float>(scale * (static_cast<double>(z) - max))));
    return static_cast<Mass>(w * 1099511627776.0) + 1;
  }
};

constexpr int kDigits = 2048;
struct FilterRoom {
  Mass bins[kDigits];
  Mass of_warp[2][kSampleThreads / 32];
  unsigned digit;
  Mass above, total;
};

/// From the highest bin down, the first at which the running sum reaches `target`: room.digit, and the sum above it.
/// The lowest with anything in it where none does. The first warp calls it.
__device__ inline void find_digit(FilterRoom& room, Mass target) {
  constexpr int kEach = kDigits / 32;
  const int lane = static_cast<int>(threadIdx.x) % 32, top = kDigits - 1 - lane * kEach;
  Mass own = 0;
  for (int i = 0; i < kEach; ++i) own += room.bins[top - i];
  const Mass through = warp_scan(own);
  Mass above = through - own;
  unsigned hit = __ballot_sync(0xffffffffu, own > 0 && through >= target);
  const bool none = hit == 0;
  if (none) hit = __ballot_sync(0xffffffffu, own > 0);
  const int winner = none ? 31 - __clz(static_cast<int>(hit | 1u)) : __ffs(static_cast<int>(hit)) - 1;
  if (lane != winner) return;
  for (int i = 0; i < kEach; ++i) {
    const Mass here = room.bins[top - i];
    if (here == 0) continue;
    room.digit = static_cast<unsigned>(top - i), room.above = above;
    if (above + here >= target) return;
    above += here;
  }
}

/// room.total. The first warp calls it.
__device__ inline void sum_bins(FilterRoom& room) {
  Mass total = 0;
  for (int i = static_cast<int>(threadIdx.x); i < kDigits; i += 32) total += room.bins[i];
  for (int offset = 16; offset > 0; offset /= 2) total += __shfl_xor_sync(0xffffffffu, total, offset);
  room.total = total;
}

/// The key at which the sum of amount(z) over larger or equal keys reaches the target, which target_of(total) gives
/// once the total over keys >= floor is known. room.above: the sum over larger keys.
template <class Amount, class Target>
__device__ unsigned select_key(const ChoiceRow& row, unsigned floor, FilterRoom& room, const Amount& amount,
                               const Target& target_of) {
  unsigned prefix = 0;
  Mass above = 0, target = 0;
  for (int shift : {21, 10, 0}) {
    const int bits = shift == 0 ? 10 : 11;
    for (int i = static_cast<int>(threadIdx.x); i < kDigits; i += kSampleThreads) room.bins[i] = 0;
    __syncthreads();
    for (int id = static_cast<int>(threadIdx.x); id < row.vocab; id += kSampleThreads) {
      const float z = row.choice(id);
      const unsigned key = key_of(z);
      const bool inside = shift == 21 || key >> (shift + bits) == prefix;
      if (key >= floor && inside) atomicAdd(&room.bins[key >> shift & ((1u << bits) - 1)], amount(z));
    }
    __syncthreads();
    if (shift == 21) {
      if (threadIdx.x < 32) sum_bins(room);
      __syncthreads();
      target = target_of(room.total);
    }
    if (threadIdx.x < 32) find_digit(room, target > above ? target - above : 0);
    __syncthreads();
    prefix = prefix << bits | room.digit, above += room.above;
    __syncthreads();
  }
  if (threadIdx.x == 0) room.above = above;
  __syncthreads();
  return prefix;
}

__device__ inline Kept filter_row(const Filter& f, const DecodeSlot& slot, FilterRoom& room) {
  Kept kept;
  if (slot.top_k > 0 && slot.top_k < f.row.vocab) {
    const Mass k = static_cast<Mass>(slot.top_k);
    kept.floor = select_key(
        f.row, 0, room, [](float) { return Mass{1}; }, [&](Mass) { return k; });
  }
  if (slot.top_p < 1) {
    Mass target = 0;
    kept.floor = select_key(
        f.row, kept.floor, room, [&](float z) { return f.mass(z); },
        [&](Mass total) { return target = static_cast<Mass>(slot.top_p * static_cast<double>(total)); });
    const Mass each = f.mass(__uint_as_float(key_bits(kept.floor)));
    const Mass missing = target > room.above ? target - room.above : 0;
    kept.ties = missing > each ? (missing + each - 1) / each : 1;
  }
  if (slot.min_p > 0) {
    float floor = static_cast<float>(f.max + log(slot.min_p) / f.scale);
    if (floor > f.max) floor = f.max;
    if (key_of(floor) > kept.floor) kept.floor = key_of(floor), kept.ties = ~Mass{0};
  }
  return kept;
}

/// Sums over ids [first, last): masses of keys above the floor, and how many equal it. One warp; the same in all lanes.
__device__ inline void kept_sums(const Filter& f, const Kept& kept, int first, int last, Mass& mass, Mass& ties) {
  mass = ties = 0;
  for (int id = first + static_cast<int>(threadIdx.x) % 32; id < last; id += 32) {
    const float z = f.row.choice(id);
    const unsigned key = key_of(z);
    if (key > kept.floor) mass += f.mass(z);
    if (key == kept.floor) ++ties;
  }
  for (int offset = 16; offset > 0; offset /= 2) {
    mass += __shfl_xor_sync(0xffffffffu, mass, offset);
    ties += __shfl_xor_sync(0xffffffffu, ties, offset);
  }
}

/// The kept id at which the running sum of masses, in the order of ids, passes uniform * total. Ranges of ids are
/// narrowed down 16-fold at a time.
__device__ inline int draw_kept(const Filter& f, const Kept& kept, double uniform, FilterRoom& room) {
  constexpr int kWarps = kSampleThreads / 32;
  const int warp = static_cast<int>(threadIdx.x) / 32;
  const Mass each = f.mass(__uint_as_float(key_bits(kept.floor)));
  int first = 0, last = f.row.vocab;
  Mass ties = kept.ties, target = 0;
  for (bool whole = true; last - first > 64 || whole; whole = false) {
    const int part = (last - first + kWarps - 1) / kWarps;
    const int from = first + warp * part < last ? first + warp * part : last;
    Mass mass, equal;
    kept_sums(f, kept, from, from + part < last ? from + part : last, mass, equal);
    if (threadIdx.x % 32 == 0) room.of_warp[0][warp] = mass, room.of_warp[1][warp] = equal;
    __syncthreads();
    Mass sums[kWarps], total = 0, left = ties;
    for (int w = 0; w < kWarps; ++w) {
      const Mass tied = room.of_warp[1][w] < left ? room.of_warp[1][w] : left;
      left -= tied, sums[w] = room.of_warp[0][w] + tied * each, total += sums[w];
    }
    if (whole) {
      target = static_cast<Mass>(uniform * static_cast<double>(total));
      if (target >= total) target = total - 1;
    }
    int w = 0;
    for (; w < kWarps - 1 && target >= sums[w]; ++w) {
      target -= sums[w];
      ties -= room.of_warp[1][w] < ties ? room.of_warp[1][w] : ties;
    }
    first = first + w * part;
    last = first + part < last ? first + part : last;
    __syncthreads();
  }
  int chosen = first;
  for (int id = first; id < last; ++id) {
    const float z = f.row.choice(id);
    const unsigned key = key_of(z);
    if (key < kept.floor || (key == kept.floor && ties == 0)) continue;
    if (key == kept.floor) --ties;
    chosen = id;
    const Mass mass = f.mass(z);
    if (mass > target) break;
    target -= mass;
  }
  return chosen;
}

}  // namespace rft::kernels
