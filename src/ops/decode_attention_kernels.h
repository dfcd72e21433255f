/// Attention of a few queries over the pages of one key/value head.
#pragma once
#include <algorithm>
#include <vector>

#include "ops/decode_kernels.h"
#include "ops/decode_simd.h"
#include "rft/ops/decode_attention.h"

namespace rft::ops {
namespace {

constexpr int kQueries = kLanes == 16 ? 8 : 4;
constexpr int kBlockVectors = kv_block / kLanes;

/// scores[i][position] = q_i . k_position; garbage may follow the last position.
template <int Q>
void key_scores(const AttendArgs& a, int64_t query0, float* scores, int64_t stride) {
  const float* q[Q];
  for (int i = 0; i < Q; ++i) q[i] = a.q + a.q_offset[query0 + i];
  int64_t position = 0;
  for (int64_t page = 0; page < a.pages; position += a.counts[page++]) {
    for (int64_t first = 0; first < a.counts[page]; first += kv_block) {
      const float* key = a.keys[page] + first * a.head_dim;
      Vec acc[Q][kBlockVectors] = {};
      for (int64_t d = 0; d < a.head_dim; ++d) {
        Vec k[kBlockVectors];
#pragma GCC unroll 4
        for (int v = 0; v < kBlockVectors; ++v) k[v] = load(key + d * kv_block + v * kLanes);
#pragma GCC unroll 8
        for (int i = 0; i < Q; ++i) {
#pragma GCC unroll 4
          for (int v = 0; v < kBlockVectors; ++v) acc[i][v] += splat(q[i][d]) * k[v];
        }
      }
      for (int i = 0; i < Q; ++i) {
        for (int v = 0; v < kBlockVectors; ++v) {
          store(scores + i * stride + position + first + v * kLanes, acc[i][v]);
        }
      }
    }
  }
}

/// Turns scores into exp(scale * (score - max)) over the first `n`, zeros up to `end`; returns their sum.
RFT_INLINE float softmax_numerators(float* scores, int64_t n, int64_t end, float scale) {
  Vec best = splat(scores[0]);
  int64_t j = 0;
  for (; j + kLanes <= n; j += kLanes) best = larger(best, load(scores + j));
  if (j < n) best = larger(best, load_some(scores + j, n - j, scores[0]));
  const float top = maximum(best);
  Vec total = {};
  for (j = 0; j + kLanes <= n; j += kLanes) {
    const Vec e = exp((load(scores + j) - top) * scale);
    store(scores + j, e);
    total += e;
  }
  if (j < n) {
    const Vec e = exp((load_some(scores + j, n - j, -3e38f) - top) * scale);
    store_some(scores + j, e, n - j);
    total += e;
  }
  std::fill(scores + n, scores + end, 0.f);
  return sum(total);
}

/// scores[0 .. n) become softcap tanh(scale scores / softcap).
RFT_INLINE void cap_scores(float* scores, int64_t n, float scale, float softcap) {
  // tanh(x) = 1 - 2 / (exp(2 x) + 1)
  for (int64_t j = 0; j < n; j += kLanes) {
    const int64_t count = std::min<int64_t>(kLanes, n - j);
    const Vec x = count == kLanes ? load(scores + j) : load_some(scores + j, count, 0.f);
    const Vec capped = softcap - 2 * softcap / (exp(x * (2 * scale / softcap)) + 1);
    count == kLanes ? store(scores + j, capped) : store_some(scores + j, capped, count);
  }
}

/// out_i[d .. d + N * kLanes) = sum over positions of weights[i][position] * v_position, divided by total[i].
template <int Q, int N>
RFT_INLINE void weighted_values(const AttendArgs& a, int64_t query0, const float* weights, int64_t stride,
                                const float* total, int64_t d) {
  const int64_t width = padded_head_dim(a.head_dim);
  Vec acc[Q][N] = {};
  const float* weight = weights;
  for (int64_t page = 0; page < a.pages; ++page) {
    const float* value = a.values[page] + d;
    for (int64_t j = 0; j < a.counts[page]; ++j, ++weight, value += width) {
      Vec v[N];
#pragma GCC unroll 4
      for (int n = 0; n < N; ++n) v[n] = load(value + n * kLanes);
#pragma GCC unroll 8
      for (int i = 0; i < Q; ++i) {
        const Vec w = splat(weight[i * stride]);
#pragma GCC unroll 4
        for (int n = 0; n < N; ++n) acc[i][n] += w * v[n];
      }
    }
  }
  for (int i = 0; i < Q; ++i) {
    float* out = a.out + a.out_offset[query0 + i];
    for (int n = 0; n < N; ++n) {
      const int64_t from = d + n * kLanes, count = std::min<int64_t>(kLanes, a.head_dim - from);
      const Vec result = acc[i][n] / total[i];
      if (count == kLanes) {
        store(out + from, result);
      } else if (count > 0) {
        store_some(out + from, result, count);
      }
    }
  }
}

template <int Q>
void attend_queries(const AttendArgs& a, int64_t query0, int64_t positions) {
  static thread_local std::vector<float> buffer;
  const int64_t stride = positions + kv_page;
  if (buffer.size() < static_cast<size_t>(Q * stride)) buffer.resize(static_cast<size_t>(Q * stride));
  float* scores = buffer.data();
  key_scores<Q>(a, query0, scores, stride);
  float total[Q];
  for (int i = 0; i < Q; ++i) {
    float* row = scores + i * stride;
    const int64_t from = a.first[query0 + i], to = a.visible[query0 + i];
    if (a.softcap > 0) cap_scores(row + from, to - from, a.scale, a.softcap);
    std::fill(row, row + from, 0.f);
    total[i] = softmax_numerators(row + from, to - from, positions - from, a.softcap > 0 ? 1.f : a.scale);
  }
  const int64_t width = padded_head_dim(a.head_dim);
  int64_t d = 0;
  for (; d + 2 * kLanes <= width; d += 2 * kLanes) weighted_values<Q, 2>(a, query0, scores, stride, total, d);
  for (; d < width; d += kLanes) weighted_values<Q, 1>(a, query0, scores, stride, total, d);
}

void attend(const AttendArgs& a) {
  int64_t positions = 0;
  for (int64_t page = 0; page < a.pages; ++page) positions += a.counts[page];
  for (int64_t query = 0; query < a.queries; query += kQueries) {
    switch (std::min<int64_t>(kQueries, a.queries - query)) {
      case 1:
        attend_queries<1>(a, query, positions);
        break;
      case 2:
        attend_queries<2>(a, query, positions);
        break;
      case 3:
        attend_queries<3>(a, query, positions);
        break;
      case 4:
        attend_queries<4>(a, query, positions);
        break;
#if RFT_LANES == 16
      case 5:
        attend_queries<5>(a, query, positions);
        break;
      case 6:
        attend_queries<6>(a, query, positions);
        break;
      case 7:
        attend_queries<7>(a, query, positions);
        break;
      case 8:
        attend_queries<8>(a, query, positions);
        break;
#endif
    }
  }
}

}  // namespace
}  // namespace rft::ops
