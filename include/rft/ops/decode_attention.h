#pragma once
/// Attention of new tokens over a paged key/value cache, without autograd, on the CPU in float32.
#include <cstdint>
#include <vector>

namespace rft::ops {

constexpr int64_t kv_page = 32;   ///< positions of a page
constexpr int64_t kv_block = 16;  ///< positions whose keys lie side by side

constexpr int64_t padded_head_dim(int64_t head_dim) { return (head_dim + 15) / 16 * 16; }

/// How one layer of a page is laid out: keys [kv_heads][kv_page / kv_block][head_dim][kv_block], so that the scores of
/// a block are one vector, then values [kv_heads][kv_page][padded_head_dim].
struct KvLayout {
  int64_t layers = 0, kv_heads = 0, head_dim = 0;

  int64_t head_keys() const { return kv_page * head_dim; }
  int64_t head_values() const { return kv_page * padded_head_dim(head_dim); }
  int64_t layer_floats() const { return kv_heads * (head_keys() + head_values()); }
  /// Floats of a page.
  int64_t page_floats() const { return layers * layer_floats(); }
};

/// Stores a position's k and v [kv_heads, head_dim] of one layer.
void store_kv(const KvLayout& layout, float* page, int64_t layer, int64_t position_in_page, const float* k,
              const float* v);

/// What consecutive tokens of one sequence attend to.
struct AttentionTile {
  std::vector<const float*> pages;  ///< in the order of their positions: a shared prompt's, then the row's own
  std::vector<int64_t> counts;      ///< positions used of each page (<= kv_page)
  int64_t token = 0;                ///< index of the first token in q
  int64_t tokens = 1;
  int64_t visible = 1;  ///< positions that the first token sees; each further token sees one more
};

struct AttentionShape {
  double scale = 0;    ///< of q k; 0: 1 / sqrt(head_dim)
  double softcap = 0;  ///< scores are softcap tanh(scale q k / softcap); 0: as they are
  int64_t window = 0;  ///< a token sees so many positions, itself the last; 0: all
};

/// q [N, heads * head_dim], `q_stride` floats apart; out [N, heads * head_dim] contiguous. Query head h reads key/value
/// head h / (heads / kv_heads). softmax(scale q k) v, for every token of every tile.
void decode_attention(const KvLayout& layout, int64_t layer, const std::vector<AttentionTile>& tiles, const float* q,
                      int64_t q_stride, int64_t heads, float* out, const AttentionShape& shape = {});

}  // namespace rft::ops
