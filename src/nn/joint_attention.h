#pragma once
/// Attention among tokens of several kinds, each with layers of its own (Esser et al. 2024, arXiv:2403.03206).
#include <string>
#include <utility>
#include <vector>

#include "rft/nn/weights.h"

namespace rft {

/// One kind of tokens.
struct AttentionStream {
  std::shared_ptr<Linear> q, k, v;
  std::shared_ptr<Linear> out;  ///< or null: what the heads found is given out as it is
  Tensor norm_q, norm_k;        ///< RMSNorms of each head [head_dim], or undefined
};

struct AttentionShape {
  int64_t width = 0, heads = 1;
  bool bias = true;  ///< of q, k and v
  bool qk_norm = false;
};

/// Takes to_q, to_k, to_v, with `out` to_out.0, and norm_q, norm_k.
AttentionStream image_stream(const WeightSource& source, const AttentionShape& shape, bool out = true);
/// Takes add_q_proj, add_k_proj, add_v_proj, with `out` to_add_out, and norm_added_q, norm_added_k.
AttentionStream text_stream(const WeightSource& source, const AttentionShape& shape, bool out = true);

/// Rotary positions: of each head the pair (2 d, 2 d + 1) is turned by its angle (Su et al. 2021, arXiv:2104.09864).
struct Rotation {
  Tensor cos, sin;  ///< [L, head_dim / 2] float32 for the tokens of all streams, or undefined
};

/// Streams with their tokens [N, L_i, D]: all attend to all. -> [N, L_i, D] each.
std::vector<Tensor> attend(const std::vector<std::pair<const AttentionStream*, Tensor>>& streams, int64_t heads,
                           const Rotation& rotation = {});

}  // namespace rft
