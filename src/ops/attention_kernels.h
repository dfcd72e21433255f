/// Attention of whole heads. The lanes of a vector are queries (or keys), so that softmax needs no sums across lanes
/// and head sizes far below a vector's length, 8 or 40, leave none of it unused.
#pragma once
#include <algorithm>
#include <array>
#include <cmath>
#include <utility>

#include "ops/attention_heads.h"
#include "ops/decode_simd.h"

namespace rft::ops {
namespace {

constexpr float kLog2E = 1.44269504f;        // scores are kept in units of ln 2: 2^x is cheaper than e^x
constexpr int kAbreast = 3;                  // vectors side by side
constexpr int kWide = kAbreast * kLanes;     // rows of a head that are worked on at once, one a lane
constexpr int kSums = kLanes == 16 ? 8 : 4;  // times kAbreast, the sums that the registers hold
constexpr int64_t kBlockRows = 128;          // scores [128][kWide] stay in the first-level cache

struct Factor {
  const float* data;  ///< element (i, k) at data[i * row + k * depth]
  int64_t row, depth;
};

template <int R>
void multiply_tile(Factor a, int64_t depth, const float* b, float* out, bool add) {
  Vec sum[R][kAbreast];
#pragma GCC unroll 16  // or the sums would lie in memory
  for (int i = 0; i < R; ++i)
#pragma GCC unroll 4
    for (int v = 0; v < kAbreast; ++v) sum[i][v] = add ? load(out + i * kWide + v * kLanes) : Vec{};
  for (int64_t k = 0; k < depth; ++k, b += kWide) {
    Vec x[kAbreast];
#pragma GCC unroll 4
    for (int v = 0; v < kAbreast; ++v) x[v] = load(b + v * kLanes);
    const float* factors = a.data + k * a.depth;
#pragma GCC unroll 16
    for (int i = 0; i < R; ++i) {
      const Vec factor = splat(factors[i * a.row]);
#pragma GCC unroll 4
      for (int v = 0; v < kAbreast; ++v) sum[i][v] += factor * x[v];
    }
  }
#pragma GCC unroll 16
  for (int i = 0; i < R; ++i)
#pragma GCC unroll 4
    for (int v = 0; v < kAbreast; ++v) store(out + i * kWide + v * kLanes, sum[i][v]);
}

template <int... R>
constexpr auto multiply_tiles(std::integer_sequence<int, R...>) {
  return std::array{&multiply_tile<R + 1>...};
}

/// out [rows][kWide] = (or +=) a [rows, depth] b [depth][kWide]
void multiply(int64_t rows, int64_t depth, Factor a, const float* b, float* out, bool add) {
  static constexpr auto tiles = multiply_tiles(std::make_integer_sequence<int, kSums>());
  for (int64_t first = 0, n; first < rows; first += n) {
    const int64_t left = rows - first;
    n = left > kSums && left < 2 * kSums ? left / 2 : std::min<int64_t>(left, kSums);  // no tile of a row or two
    tiles[static_cast<size_t>(n - 1)]({a.data + first * a.row, a.row, a.depth}, depth, b, out + first * kWide, add);
  }
}

/// out[c][lane] = scale * x[first + lane, c]; 0 from lane `lanes` on.
void turn_in(const float* x, int64_t stride, int64_t lanes, int64_t d, float scale, float* out) {
  for (int64_t c = 0; c < d; ++c)
    for (int64_t lane = 0; lane < kWide; ++lane)
      out[c * kWide + lane] = lane < lanes ? scale * x[lane * stride + c] : 0;
}

/// out[lane, c] = x[c][lane] * factor[lane]
void turn_out(const float* x, int64_t lanes, int64_t d, const float* factor, float* out, int64_t stride) {
  for (int64_t lane = 0; lane < lanes; ++lane)
    for (int64_t c = 0; c < d; ++c) out[lane * stride + c] = x[c * kWide + lane] * factor[lane];
}

/// 2^x for x <= 0 or slightly above, within 2 ulp; 1.2e-38 below -126; NaN stays NaN. The polynomial is Cephes' exp2f.
RFT_INLINE Vec power_of_two(Vec x) {
  const Vec magic = splat(12582912.f);  // 1.5 * 2^23: adding it rounds to an integer
  const Vec bounded = larger(splat(-126.f), x), shifted = bounded + magic, r = bounded - (shifted - magic);
  Vec p = splat(1.535336188319500e-4f);
  p = p * r + 1.339887440266574e-3f;
  p = p * r + 9.618437357674640e-3f;
  p = p * r + 5.550332471162809e-2f;
  p = p * r + 2.402264791363012e-1f;
  p = p * r + 6.931472028550421e-1f;
  p = p * r + 1.f;
  return (Vec)((IntVec)p + ((IntVec)shifted << 23));  // the integer is in the low bits of `shifted`
}

/// The softmax's running state of kWide queries (Milakov & Gimelshein 2018).
struct Running {
  Vec top[kAbreast], total[kAbreast];

  Running() {
    for (int v = 0; v < kAbreast; ++v) top[v] = splat(-INFINITY), total[v] = Vec{};
  }

  /// The scores become 2^(score - top); `mixed` [d][kWide], what the earlier ones gave, follows a new top.
  void take(float* scores, int64_t rows, float* mixed, int64_t d) {
    Vec best[kAbreast], kept[kAbreast];
    for (int v = 0; v < kAbreast; ++v) best[v] = top[v];
    for (int64_t j = 0; j < rows; ++j)
      for (int v = 0; v < kAbreast; ++v) best[v] = larger(best[v], load(scores + j * kWide + v * kLanes));
    for (int v = 0; v < kAbreast; ++v) {
      kept[v] = power_of_two(top[v] - best[v]);
      top[v] = best[v];
      total[v] *= kept[v];
    }
    for (int64_t c = 0; c < d; ++c)
      for (int v = 0; v < kAbreast; ++v) {
        float* at = mixed + c * kWide + v * kLanes;
        store(at, load(at) * kept[v]);
      }
    for (int64_t j = 0; j < rows; ++j)
      for (int v = 0; v < kAbreast; ++v) {
        float* at = scores + j * kWide + v * kLanes;
        const Vec e = power_of_two(load(at) - best[v]);
        store(at, e);
        total[v] += e;
      }
  }
};

void attention_forward(const HeadForward& a, int64_t first, float* memory) {
  const int64_t lanes = std::min<int64_t>(kWide, a.queries - first), d = a.head_dim;
  float *turned = memory, *mixed = turned + d * kWide, *scores = mixed + d * kWide;
  std::fill_n(mixed, d * kWide, 0.f);
  turn_in(a.q + first * a.q_stride, a.q_stride, lanes, d, a.scale * kLog2E, turned);
  Running running;
  for (int64_t j = 0; j < a.keys; j += kBlockRows) {
    const int64_t rows = std::min(kBlockRows, a.keys - j);
    multiply(rows, d, {a.k + j * a.k_stride, a.k_stride, 1}, turned, scores, false);
    running.take(scores, rows, mixed, d);
    multiply(d, rows, {a.v + j * a.v_stride, 1, a.v_stride}, scores, mixed, true);
  }
  float share[kWide];
  for (int v = 0; v < kAbreast; ++v) store(share + v * kLanes, 1.f / running.total[v]);
  turn_out(mixed, lanes, d, share, a.out + first * a.out_stride, a.out_stride);
  for (int64_t lane = 0; lane < lanes; ++lane)
    a.log_total[first + lane] =
        running.top[lane / kLanes][lane % kLanes] + std::log2(running.total[lane / kLanes][lane % kLanes]);
}

/// scores [rows][kWide] become the softmax p, and upstream = p (upstream - inner). `log_total` and `inner` are a
/// number a lane or, `by_row`, a number a row.
template <bool by_row>
RFT_INLINE void softmax_backward(float* scores, float* upstream, int64_t rows, const float* log_total,
                                 const float* inner) {
  for (int v = 0; v < kAbreast; ++v) {
    Vec total = by_row ? Vec{} : load(log_total + v * kLanes), mean = by_row ? Vec{} : load(inner + v * kLanes);
    for (int64_t j = 0; j < rows; ++j) {
      float *s = scores + j * kWide + v * kLanes, *u = upstream + j * kWide + v * kLanes;
      if (by_row) total = splat(log_total[j]), mean = splat(inner[j]);
      const Vec p = power_of_two(load(s) - total);
      store(s, p);
      store(u, p * (load(u) - mean));
    }
  }
}

/// The gradient of queries first ... first + kWide, one a lane.
void attention_queries_backward(const HeadBackward& a, int64_t first, float* memory) {
  const int64_t lanes = std::min<int64_t>(kWide, a.queries - first), d = a.head_dim;
  float *query = memory, *up = query + d * kWide, *gradient = up + d * kWide, *scores = gradient + d * kWide,
        *upstream = scores + kBlockRows * kWide;
  std::fill_n(gradient, d * kWide, 0.f);
  turn_in(a.q + first * d, d, lanes, d, a.scale * kLog2E, query);
  turn_in(a.up + first * d, d, lanes, d, 1, up);
  float log_total[kWide] = {}, inner[kWide] = {}, scale[kWide];
  std::copy_n(a.log_total + first, lanes, log_total);
  std::copy_n(a.inner + first, lanes, inner);
  std::fill_n(scale, kWide, a.scale);
  for (int64_t j = 0; j < a.keys; j += kBlockRows) {
    const int64_t rows = std::min(kBlockRows, a.keys - j);
    multiply(rows, d, {a.k + j * d, d, 1}, query, scores, false);
    multiply(rows, d, {a.v + j * d, d, 1}, up, upstream, false);
    softmax_backward<false>(scores, upstream, rows, log_total, inner);
    multiply(d, rows, {a.k + j * d, 1, d}, upstream, gradient, true);
  }
  turn_out(gradient, lanes, d, scale, a.dq + first * a.dq_stride, a.dq_stride);
}

/// The gradients of keys and values first ... first + kWide, one a lane.
void attention_keys_backward(const HeadBackward& a, int64_t first, float* memory) {
  const int64_t lanes = std::min<int64_t>(kWide, a.keys - first), d = a.head_dim;
  float *key = memory, *value = key + d * kWide, *dkey = value + d * kWide, *dvalue = dkey + d * kWide,
        *scores = dvalue + d * kWide, *upstream = scores + kBlockRows * kWide;
  std::fill_n(dkey, 2 * d * kWide, 0.f);
  turn_in(a.k + first * d, d, lanes, d, a.scale * kLog2E, key);
  turn_in(a.v + first * d, d, lanes, d, 1, value);
  for (int64_t i = 0; i < a.queries; i += kBlockRows) {
    const int64_t rows = std::min(kBlockRows, a.queries - i);
    multiply(rows, d, {a.q + i * d, d, 1}, key, scores, false);
    multiply(rows, d, {a.up + i * d, d, 1}, value, upstream, false);
    softmax_backward<true>(scores, upstream, rows, a.log_total + i, a.inner + i);
    multiply(d, rows, {a.up + i * d, 1, d}, scores, dvalue, true);
    multiply(d, rows, {a.q + i * d, 1, d}, upstream, dkey, true);
  }
  float scale[kWide], one[kWide];
  std::fill_n(scale, kWide, a.scale), std::fill_n(one, kWide, 1.f);
  turn_out(dkey, lanes, d, scale, a.dk + first * a.dk_stride, a.dk_stride);
  turn_out(dvalue, lanes, d, one, a.dv + first * a.dv_stride, a.dv_stride);
}

constexpr AttentionKernels kAttention{kWide, kBlockRows, attention_forward, attention_queries_backward,
                                      attention_keys_backward};

}  // namespace
}  // namespace rft::ops
