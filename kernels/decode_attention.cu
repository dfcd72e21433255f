#include "kernels/decode_attention.h"
#include "kernels/decode_heads.h"
#include "kernels/decode_linear_parts.h"

namespace rft::kernels {
namespace {

constexpr int kHeads = 8;  ///< query heads of one block, all of one key/value head
/// Warps of a block, each of which takes pages of its own; of C 32-number parts of a head.
template <int C>
constexpr int kWarps = C <= 4 ? 16 : 8;
template <int C>
constexpr int kShares = kWarps<C> / 2;  ///< after the second half's were added to the first's
constexpr float kLowest = -INFINITY;

/// What a block works on.
struct Item {
  int token, kv_head, head, heads, split;  ///< head: the first of `heads` query heads
};
RFT_HOST_DEVICE int head_tiles(const DecodeAttention& a) { return (a.heads / a.kv_heads + kHeads - 1) / kHeads; }
__device__ __forceinline__ Item item_at(const DecodeAttention& a, int index) {
  const int share = a.heads / a.kv_heads, tiles = head_tiles(a);
  Item item;
  item.token = index % a.tokens, index /= a.tokens;
  item.kv_head = index % a.kv_heads, index /= a.kv_heads;
  const int tile = index % tiles;
  item.split = index / tiles;
  item.head = item.kv_head * share + tile * kHeads;
  item.heads = share - tile * kHeads < kHeads ? share - tile * kHeads : kHeads;
  return item;
}

__device__ __forceinline__ uint32_t packed(float low, float high) {
  const Pack<bf16, 2> pair{{from_float<bf16>(low), from_float<bf16>(high)}};
  uint32_t bits;
  memcpy(&bits, &pair, sizeof(bits));
  return bits;
}
__device__ __forceinline__ uint4 packed8(const float* x) {
  return make_uint4(packed(x[0], x[1]), packed(x[2], x[3]), packed(x[4], x[5]), packed(x[6], x[7]));
}
__device__ __forceinline__ uint4 load16(const bf16* p) { return *reinterpret_cast<const uint4*>(p); }

/// A warp's share of the softmax: largest score and sum of head lane / 4, and, unnormalised, the outputs, as the tensor
/// cores lay them out: rows are the head's numbers, columns the heads.
template <int C>
struct Attended {
  float largest = kLowest, sum = 0;
  float out[2 * C][4] = {};
};

/// Adds a page. The scores' columns are the positions in such an order that they come out as the next product wants
/// them: column n of tile j is position 8 (n / 2) + 2 j + n % 2.
template <int C>
__device__ void attend_page(const DecodeAttention& a, const bf16* keys, const bf16* values, const uint4 (&q)[C],
                            int first, int end, Attended<C>& to) {
  const int lane = static_cast<int>(threadIdx.x) % 32, g = lane / 4, t = lane % 4;
  float score[4][4] = {};
#pragma unroll
  for (int j = 0; j < 4; ++j) {
    const bf16* row = keys + (8 * (g / 2) + 2 * j + g % 2) * 32 * C + t * 8;
#pragma unroll
    for (int c = 0; c < C; ++c) {
      const uint4 heads[2] = {q[c], make_uint4(0, 0, 0, 0)};
      mma_chunk(score[j], heads, load16(row + 32 * c));
    }
  }
  float largest = kLowest;
#pragma unroll
  for (int i = 0; i < 8; ++i) {
    float& s = score[i / 2][i % 2];
    const int position = 8 * t + i;
    s *= a.scale;
    if (a.softcap > 0) s = a.softcap * tanhf(s / a.softcap);
    s = position >= first && position < end ? s : kLowest;
    largest = fmaxf(largest, s);
  }
  largest = fmaxf(largest, __shfl_xor_sync(0xffffffffu, largest, 1));
  largest = fmaxf(largest, __shfl_xor_sync(0xffffffffu, largest, 2));
  largest = fmaxf(largest, to.largest);
  const float shrink = __expf(to.largest - largest);
  float p[8], sum = 0;
#pragma unroll
  for (int i = 0; i < 8; ++i) p[i] = __expf(score[i / 2][i % 2] - largest), sum += p[i];
  to.sum = to.sum * shrink + sum, to.largest = largest;
  const uint4 weights = make_uint4(packed(p[0], p[1]), packed(p[2], p[3]), packed(p[4], p[5]), packed(p[6], p[7]));
  const float even = __shfl_sync(0xffffffffu, shrink, 8 * t), odd = __shfl_sync(0xffffffffu, shrink, 8 * t + 4);
#pragma unroll
  for (int m = 0; m < 2 * C; ++m) {
    const bf16* row = values + (16 * m + g) * kPagePositions + t * 8;
    const uint4 v[2] = {load16(row), load16(row + 8 * kPagePositions)};
    to.out[m][0] *= even, to.out[m][1] *= odd, to.out[m][2] *= even, to.out[m][3] *= odd;
    mma_chunk(to.out[m], v, weights);
  }
}

/// Fetches the keys and values of a page into the L2 cache. All lanes of a warp.
template <int C>
__device__ void fetch_page(const DecodeAttention& a, const Item& item, const Visible& visible, int p) {
  if (p * kPagePositions >= visible.length) return;
  const int page = pages_of(a, item.token)[p];
  const auto* keys = reinterpret_cast<const char*>(page_keys<bf16>(a, page, item.kv_head));
  const auto* values = reinterpret_cast<const char*>(page_values<bf16>(a, page, item.kv_head));
  for (int line = static_cast<int>(threadIdx.x) % 32; line < 16 * C; line += 32)
    fetch_line(keys + 128 * line), fetch_line(values + 128 * line);
}

/// Before the kernel in front has ended: which tokens there are, where their pages lie and what earlier steps wrote to
/// them does not depend on it.
template <int C>
__device__ void fetch_first_pages(const DecodeAttention& a) {
  const Item item = item_at(a, static_cast<int>(blockIdx.x));
  const int position = a.position[item.token];
  if (position < 0) return;
  const Visible visible = visible_at(position, a.window);
  if (item.split >= visible.splits) return;
  fetch_page<C>(a, item, visible, visible.first_page + item.split * visible.per + static_cast<int>(threadIdx.x) / 32);
}

/// Warps' shares in shared memory.
template <int C>
struct Shares {
  float out[kShares<C>][32 * C][kHeads];
  float largest[kShares<C>][32], sum[kShares<C>][32];  ///< by lane, then by head
};

/// Adds the shares of the warps in the second half to those in the first, lane by lane.
template <int C>
__device__ void halve(Attended<C>& own, Shares<C>& shares) {
  const int lane = static_cast<int>(threadIdx.x) % 32, warp = static_cast<int>(threadIdx.x) / 32, t = lane % 4;
  const int share = warp % kShares<C>;
  float* out = &shares.out[share][0][0] + lane;
  if (warp >= kShares<C>) {
    shares.largest[share][lane] = own.largest, shares.sum[share][lane] = own.sum;
#pragma unroll
    for (int e = 0; e < 8 * C; ++e) out[32 * e] = own.out[e / 4][e % 4];
  }
  __syncthreads();
  if (warp < kShares<C>) {
    const float theirs = shares.largest[share][lane], largest = fmaxf(own.largest, theirs);
    const bool nothing = largest == kLowest;
    const float mine = nothing ? 0.0f : __expf(own.largest - largest),
                other = nothing ? 0.0f : __expf(theirs - largest);
    own.sum = own.sum * mine + shares.sum[share][lane] * other, own.largest = largest;
    const float mine_of[2] = {__shfl_sync(0xffffffffu, mine, 8 * t), __shfl_sync(0xffffffffu, mine, 8 * t + 4)};
    const float other_of[2] = {__shfl_sync(0xffffffffu, other, 8 * t), __shfl_sync(0xffffffffu, other, 8 * t + 4)};
#pragma unroll
    for (int e = 0; e < 8 * C; ++e) {
      float& x = own.out[e / 4][e % 4];
      x = x * mine_of[e % 2] + out[32 * e] * other_of[e % 2];
    }
  }
  __syncthreads();
}

template <int C>
__device__ void put_share(const Attended<C>& own, Shares<C>& shares) {
  const int lane = static_cast<int>(threadIdx.x) % 32, warp = static_cast<int>(threadIdx.x) / 32;
  if (warp >= kShares<C>) return;
  const int g = lane / 4, t = lane % 4;
  float sum = own.sum;
  sum += __shfl_xor_sync(0xffffffffu, sum, 1);
  sum += __shfl_xor_sync(0xffffffffu, sum, 2);
  if (t == 0) shares.largest[warp][g] = own.largest, shares.sum[warp][g] = sum;
#pragma unroll
  for (int m = 0; m < 2 * C; ++m) {
    float *low = shares.out[warp][16 * m + g] + 2 * t, *high = shares.out[warp][16 * m + g + 8] + 2 * t;
    low[0] = own.out[m][0], low[1] = own.out[m][1], high[0] = own.out[m][2], high[1] = own.out[m][3];
  }
}

/// Numbers of a part: the largest score, the sum, the outputs.
RFT_HOST_DEVICE int part_numbers(int head_dim) { return head_dim + 2; }

/// Adds up the block's shares: writes the output, or the part where there are more splits.
template <int C>
__device__ void put_part(const DecodeAttention& a, const Item& item, bool whole, const Shares<C>& shares) {
  for (int i = static_cast<int>(threadIdx.x); i < item.heads * a.head_dim; i += 32 * kWarps<C>) {
    const int h = i / a.head_dim, d = i % a.head_dim;
    float largest = kLowest, sum = 0, out = 0;
#pragma unroll
    for (int w = 0; w < kShares<C>; ++w) largest = fmaxf(largest, shares.largest[w][h]);
#pragma unroll
    for (int w = 0; w < kShares<C>; ++w) {
      const float share = __expf(shares.largest[w][h] - largest);
      sum += share * shares.sum[w][h], out += share * shares.out[w][d][h];
    }
    const int64_t head = int64_t{item.token} * a.heads + item.head + h;
    if (whole) {
      static_cast<bf16*>(a.out)[head * a.head_dim + d] = from_float<bf16>(out / sum);
      continue;
    }
    float* part = a.parts + (head * a.splits + item.split) * part_numbers(a.head_dim);
    if (d == 0) part[0] = largest, part[1] = sum;
    part[2 + d] = out;
  }
}

/// Adds up the parts of all splits; the last block to arrive does it.
__device__ void put_whole(const DecodeAttention& a, const Item& item, int splits) {
  for (int i = static_cast<int>(threadIdx.x); i < item.heads * a.head_dim; i += static_cast<int>(blockDim.x)) {
    const int h = i / a.head_dim, d = i % a.head_dim;
    const int64_t head = int64_t{item.token} * a.heads + item.head + h;
    const volatile float* part = a.parts + head * a.splits * part_numbers(a.head_dim);
    float largest = kLowest, sum = 0, out = 0;
    for (int s = 0; s < splits; ++s) largest = fmaxf(largest, part[s * part_numbers(a.head_dim)]);
    for (int s = 0; s < splits; ++s) {
      const volatile float* p = part + s * part_numbers(a.head_dim);
      const float share = __expf(p[0] - largest);
      sum += share * p[1], out += share * p[2 + d];
    }
    static_cast<bf16*>(a.out)[head * a.head_dim + d] = from_float<bf16>(out / sum);
  }
}

__device__ bool last_to_arrive(const DecodeAttention& a, const Item& item, int splits) {
  __shared__ bool last;
  __threadfence();
  __syncthreads();
  if (threadIdx.x == 0) {
    int* arrived = a.arrived + int64_t{item.token} * a.heads + item.head;
    last = atomicAdd(arrived, 1) == splits - 1;
    if (last) *arrived = 0;
  }
  __syncthreads();
  if (last) __threadfence();
  return last;
}

/// q of the item's heads, and k and v of its token where this block is the one that appends them.
template <int C>
__device__ void prepare(const DecodeAttention& a, const Item& item, int position, bool append, float (*q)[32 * C],
                        float (*kv)[32 * C]) {
  const int warp = static_cast<int>(threadIdx.x) / 32;
  if (warp < item.heads) prepare_head(a, item.token, item.head + warp, a.q_norm, true, position, q[warp]);
  for (int i = static_cast<int>(threadIdx.x); i < (kHeads - item.heads) * 32 * C; i += 32 * kWarps<C>)
    q[item.heads + i / (32 * C)][i % (32 * C)] = 0;
  const int part = warp - (kWarps<C> - 2);  // 0: the key, 1: the value
  if (!append || part < 0) return;
  const int index = a.heads + (part == 0 ? 0 : a.kv_heads) + item.kv_head;
  prepare_head(a, item.token, index, part == 0 ? a.k_norm : nullptr, part == 0, position, kv[part]);
  store_head<bf16>(a, item.token, position, item.kv_head, part == 1, kv[part]);
}

template <int C>
__global__ void __launch_bounds__(32 * kWarps<C>, C <= 2 ? 2 : 1) attend(const DecodeAttention a, int items) {
  __shared__ union Room {
    struct {
      float q[kHeads][32 * C], kv[2][32 * C];
    } heads;
    Shares<C> shares;
  } room;
  const int lane = static_cast<int>(threadIdx.x) % 32, warp = static_cast<int>(threadIdx.x) / 32;
  let_next_start();
  fetch_first_pages<C>(a);
  wait_for_previous();
  for (int index = static_cast<int>(blockIdx.x); index < items; index += static_cast<int>(gridDim.x)) {
    const Item item = item_at(a, index);
    const int position = a.position[item.token];
    if (position < 0) continue;
    const Visible visible = visible_at(position, a.window);
    if (item.split >= visible.splits) continue;
    // Several tiles of heads share the key/value head; each appends the same numbers.
    prepare<C>(a, item, position, a.append && item.split == visible.splits - 1, room.heads.q, room.heads.kv);
    __syncthreads();
    uint4 q[C];
#pragma unroll
    for (int c = 0; c < C; ++c) q[c] = packed8(room.heads.q[lane / 4] + 32 * c + lane % 4 * 8);
    __syncthreads();
    Attended<C> own;
    const int first_page = visible.first_page + item.split * visible.per;
    for (int p = first_page + warp; p < first_page + visible.per && p * kPagePositions < visible.length;
         p += kWarps<C>) {
      const int page = pages_of(a, item.token)[p], start = p * kPagePositions;
      if (p + kWarps<C> < first_page + visible.per) fetch_page<C>(a, item, visible, p + kWarps<C>);
      attend_page<C>(a, page_keys<bf16>(a, page, item.kv_head), page_values<bf16>(a, page, item.kv_head), q,
                     visible.first - start, visible.length - start, own);
    }
    halve<C>(own, room.shares);
    put_share<C>(own, room.shares);
    __syncthreads();
    put_part<C>(a, item, visible.splits == 1, room.shares);
    if (visible.splits > 1 && last_to_arrive(a, item, visible.splits)) put_whole(a, item, visible.splits);
    __syncthreads();
  }
}

template <int C>
int start(const DecodeAttention& a, void* stream) {
  constexpr int kBlocks = 132 * 4;
  const int items = a.tokens * a.kv_heads * head_tiles(a) * a.splits;
  Launch how;
  how.grid = {static_cast<unsigned>(items < kBlocks ? items : kBlocks), 1, 1};
  how.threads = 32 * kWarps<C>, how.stream = stream, how.overlap = true;
  return launch(attend<C>, how, a, items);
}

template <class T>
__global__ void append_heads(const DecodeAttention a) {
  __shared__ float rows[2][256];
  const int token = static_cast<int>(blockIdx.x), kv_head = static_cast<int>(blockIdx.y);
  const int value = static_cast<int>(threadIdx.x) / 32;
  let_next_start();
  wait_for_previous();
  const int position = a.position[token];
  if (position < 0) return;
  prepare_head(a, token, a.heads + value * a.kv_heads + kv_head, value ? nullptr : a.k_norm, !value, position,
               rows[value]);
  store_head<T>(a, token, position, kv_head, value, rows[value]);
}

}  // namespace

int attention_splits(int length) {
  const int pages = (length + kPagePositions - 1) / kPagePositions, per = pages_of_split(pages);
  return (pages + per - 1) / per;
}

int64_t attention_parts(int tokens, int heads, int head_dim, int splits) {
  return splits > 1 ? int64_t{tokens} * heads * splits * part_numbers(head_dim) : 0;
}

int decode_append(const DecodeAttention& a, void* stream) {
  Launch how;
  how.grid = {static_cast<unsigned>(a.tokens), static_cast<unsigned>(a.kv_heads), 1};
  how.threads = 64, how.stream = stream, how.overlap = true;
  return a.pages_float ? launch(append_heads<float>, how, a) : launch(append_heads<bf16>, how, a);
}

int decode_attention(const DecodeAttention& a, void* stream) {
  constexpr int kInvalid = 1;  // cudaErrorInvalidValue
  if (a.head_dim > 256 || a.head_dim % 2 || a.heads % a.kv_heads) return kInvalid;
  if (a.tokens == 0) return 0;
  if (a.pages_float) return decode_attention_float(a, stream);
  switch (padded_head(a.head_dim) / 32) {
    case 1:
      return start<1>(a, stream);
    case 2:
      return start<2>(a, stream);
    case 3:
      return start<3>(a, stream);
    case 4:
      return start<4>(a, stream);
    case 5:
      return start<5>(a, stream);
    case 6:
      return start<6>(a, stream);
    case 7:
      return start<7>(a, stream);
    default:
      return start<8>(a, stream);
  }
}

}  // namespace rft::kernels
