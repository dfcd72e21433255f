#include "rft/ops/decode_attention.h"

#include <ATen/Parallel.h>

#include <algorithm>
#include <cmath>

#include "ops/decode_kernels.h"

namespace rft::ops {
namespace {

/// Pages that lie before what any token of the tile sees, and their positions.
struct Unseen {
  size_t pages = 0;
  int64_t positions = 0;
};

Unseen unseen(const AttentionTile& tile, int64_t window) {
  Unseen out;
  if (!window) return out;
  while (out.positions + tile.counts[out.pages] <= tile.visible - window) out.positions += tile.counts[out.pages++];
  return out;
}

/// One tile against one key/value head.
void attend_tile(const KvLayout& layout, int64_t layer, const AttentionTile& tile, int64_t kv_head, const float* q,
                 int64_t q_stride, int64_t heads, float* out, const AttentionShape& shape) {
  static thread_local std::vector<const float*> keys, values;
  static thread_local std::vector<int64_t> visible, seen_from, q_offset, out_offset;
  const Unseen skipped = unseen(tile, shape.window);
  const int64_t share = heads / layout.kv_heads, queries = tile.tokens * share;
  keys.clear(), values.clear(), visible.clear(), seen_from.clear(), q_offset.clear(), out_offset.clear();
  for (size_t i = skipped.pages; i < tile.pages.size(); ++i) {
    const float* base = tile.pages[i] + layer * layout.layer_floats();
    keys.push_back(base + kv_head * layout.head_keys());
    values.push_back(base + layout.kv_heads * layout.head_keys() + kv_head * layout.head_values());
  }
  for (int64_t t = 0; t < tile.tokens; ++t) {
    for (int64_t s = 0; s < share; ++s) {
      const int64_t column = (kv_head * share + s) * layout.head_dim;
      q_offset.push_back((tile.token + t) * q_stride + column);
      out_offset.push_back((tile.token + t) * heads * layout.head_dim + column);
      visible.push_back(tile.visible + t - skipped.positions);
      seen_from.push_back(shape.window ? std::max<int64_t>(0, visible.back() - shape.window) : 0);
    }
  }
  AttendArgs args{};
  args.q = q, args.out = out, args.q_offset = q_offset.data(), args.out_offset = out_offset.data();
  args.visible = visible.data(), args.first = seen_from.data(), args.queries = queries, args.head_dim = layout.head_dim;
  args.scale = static_cast<float>(shape.scale > 0 ? shape.scale : 1 / std::sqrt(static_cast<double>(layout.head_dim)));
  args.softcap = static_cast<float>(shape.softcap);
  args.keys = keys.data(), args.values = values.data(), args.counts = tile.counts.data() + skipped.pages;
  args.pages = static_cast<int64_t>(keys.size());
  decode_kernels().attend(args);
}

}  // namespace

void store_kv(const KvLayout& layout, float* page, int64_t layer, int64_t position_in_page, const float* k,
              const float* v) {
  float* base = page + layer * layout.layer_floats();
  const int64_t block = position_in_page / kv_block, lane = position_in_page % kv_block, dim = layout.head_dim;
  for (int64_t head = 0; head < layout.kv_heads; ++head) {
    float* keys = base + head * layout.head_keys() + block * dim * kv_block + lane;
    for (int64_t d = 0; d < dim; ++d) keys[d * kv_block] = k[head * dim + d];
    float* values = base + layout.kv_heads * layout.head_keys() + head * layout.head_values() +
                    position_in_page * padded_head_dim(dim);
    std::copy(v + head * dim, v + (head + 1) * dim, values);
  }
}

void decode_attention(const KvLayout& layout, int64_t layer, const std::vector<AttentionTile>& tiles, const float* q,
                      int64_t q_stride, int64_t heads, float* out, const AttentionShape& shape) {
  const int64_t count = static_cast<int64_t>(tiles.size());
  int64_t products = 0;
  for (const AttentionTile& tile : tiles) {
    products += tile.tokens * (tile.visible + tile.tokens) * heads * layout.head_dim;
  }
  // Neighbouring items share a head and, within a group, the prompt's pages. Wake a thread from about 2^17 products on.
  const int64_t items = count * layout.kv_heads;
  const int64_t grain = std::max<int64_t>(1, items * (int64_t{1} << 17) / std::max<int64_t>(1, products));
  at::parallel_for(0, items, grain, [&](int64_t first, int64_t last) {
    for (int64_t item = first; item < last; ++item) {
      attend_tile(layout, layer, tiles[static_cast<size_t>(item % count)], item / count, q, q_stride, heads, out,
                  shape);
    }
  });
}

}  // namespace rft::ops
