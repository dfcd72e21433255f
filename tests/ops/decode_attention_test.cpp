#include "rft/ops/decode_attention.h"

#include <ATen/ATen.h>

#include "decode_kernel_sets.h"
#include "rft/core/tensor.h"
#include "support.h"

namespace rft::decode_attention_test {
namespace {

using testing::with_every_kernel_set;

/// A cache page by page, and the same keys and values as tensors [positions, kv_heads, head_dim].
struct Cache {
  ops::KvLayout layout;
  std::vector<std::vector<float>> pages;
  std::vector<int64_t> counts;
  Tensor k, v;
};

/// Runs of positions, each starting on a page of its own, in the last of `layers` layers.
Cache make_cache(int64_t layers, int64_t kv_heads, int64_t head_dim, const std::vector<int64_t>& runs) {
  Cache cache{{layers, kv_heads, head_dim}, {}, {}, {}, {}};
  int64_t total = 0;
  for (int64_t run : runs) total += run;
  cache.k = at::randn({total, kv_heads, head_dim});
  cache.v = at::randn({total, kv_heads, head_dim});
  int64_t position = 0;
  for (int64_t run : runs) {
    for (int64_t i = 0; i < run; ++i, ++position) {
      if (i % ops::kv_page == 0) {
        cache.pages.emplace_back(cache.layout.page_floats(), std::numeric_limits<float>::quiet_NaN());
        cache.counts.push_back(0);
      }
      ops::store_kv(cache.layout, cache.pages.back().data(), layers - 1, cache.counts.back()++,
                    cache.k[position].const_data_ptr<float>(), cache.v[position].const_data_ptr<float>());
    }
  }
  return cache;
}

ops::AttentionTile tile_of(const Cache& cache, int64_t token, int64_t tokens, int64_t visible) {
  ops::AttentionTile tile;
  for (const auto& page : cache.pages) tile.pages.push_back(page.data());
  tile.counts = cache.counts;
  tile.token = token, tile.tokens = tokens, tile.visible = visible;
  return tile;
}

/// q [heads, head_dim] over the first `visible` positions, in float64.
Tensor exact_attention(const Cache& cache, const Tensor& q, int64_t visible, const ops::AttentionShape& shape = {}) {
  const int64_t share = q.size(0) / cache.layout.kv_heads;
  const auto keys = cache.k.narrow(0, 0, visible).to(at::kDouble).repeat_interleave(share, 1).transpose(0, 1);
  const auto values = cache.v.narrow(0, 0, visible).to(at::kDouble).repeat_interleave(share, 1).transpose(0, 1);
  auto scores = keys.matmul(q.to(at::kDouble).unsqueeze(-1)).squeeze(-1);
  scores = shape.scale > 0 ? scores * shape.scale : scores / std::sqrt(double(q.size(1)));
  if (shape.softcap > 0) scores = (scores / shape.softcap).tanh() * shape.softcap;
  if (shape.window > 0 && shape.window < visible)
    scores.narrow(1, 0, visible - shape.window).fill_(-std::numeric_limits<double>::infinity());
  return scores.softmax(-1).unsqueeze(1).matmul(values).squeeze(1);
}

void compare(int64_t heads, int64_t kv_heads, int64_t head_dim, const std::vector<int64_t>& runs, int64_t tokens,
             const ops::AttentionShape& shape = {}) {
  SCOPED_TRACE(cat("heads ", heads, " kv ", kv_heads, " dim ", head_dim, " tokens ", tokens));
  const Cache cache = make_cache(2, kv_heads, head_dim, runs);
  const int64_t visible = cache.k.size(0) - tokens + 1, width = heads * head_dim;
  const Tensor q = at::randn({tokens, width + 5});
  Tensor out = at::zeros({tokens, width});
  ops::decode_attention(cache.layout, 1, {tile_of(cache, 0, tokens, visible)}, q.const_data_ptr<float>(), width + 5,
                        heads, out.data_ptr<float>(), shape);
  for (int64_t t = 0; t < tokens; ++t) {
    const Tensor exact = exact_attention(cache, q[t].narrow(0, 0, width).view({heads, head_dim}), visible + t, shape);
    EXPECT_LT((out[t].view({heads, head_dim}) - exact).abs().max().item<double>(), 3e-6);
  }
}

TEST(DecodeAttention, agrees_with_float64_over_a_shared_prompt_and_a_row_of_its_own) {
  at::manual_seed(3);
  with_every_kernel_set([] {
    for (auto [heads, kv_heads] : {std::pair{1, 1}, {4, 4}, {4, 2}, {14, 2}, {9, 1}}) {
      for (int64_t head_dim : {4, 8, 16, 40, 64}) {
        compare(heads, kv_heads, head_dim, {1}, 1);
        compare(heads, kv_heads, head_dim, {37, 5}, 1);
        compare(heads, kv_heads, head_dim, {64, 32, 1}, 1);
      }
    }
  });
}

TEST(DecodeAttention, a_tile_of_prompt_tokens_is_causal) {
  at::manual_seed(4);
  with_every_kernel_set([] {
    compare(4, 2, 16, {8}, 8);
    compare(6, 6, 24, {70}, 8);
    compare(2, 1, 8, {33}, 3);
  });
}

TEST(DecodeAttention, a_window_a_scale_and_a_cap_of_the_scores_agree_with_float64) {
  at::manual_seed(5);
  with_every_kernel_set([] {
    for (int64_t window : {1, 3, 16, 31, 32, 33, 64, 200}) {
      compare(4, 2, 16, {37, 5}, 1, {.window = window});
      compare(2, 2, 24, {100}, 8, {.window = window});
      compare(2, 1, 8, {64, 40, 9}, 5, {.scale = 0.7, .softcap = 2.5, .window = window});
    }
    compare(3, 1, 12, {50}, 4, {.scale = 0.3, .softcap = 1.5});
  });
}

TEST(DecodeAttention, large_scores_do_not_overflow) {
  with_every_kernel_set([] {
    Cache cache = make_cache(1, 1, 16, {20});
    const Tensor q = cache.k[7].view({1, 16}) * 1e4;
    Tensor out = at::zeros({1, 16});
    ops::decode_attention(cache.layout, 0, {tile_of(cache, 0, 1, 20)}, q.const_data_ptr<float>(), 16, 1,
                          out.data_ptr<float>());
    EXPECT_LT((out - exact_attention(cache, q, 20)).abs().max().item<double>(), 1e-4);
  });
}

}  // namespace
}  // namespace rft::decode_attention_test
