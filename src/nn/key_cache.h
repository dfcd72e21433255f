#pragma once
/// Attention over padded rows, and the keys and values of rows that grow.
#include <vector>

#include "nn/segments.h"
#include "rft/nn/seq2seq.h"

namespace rft {

/// x [N, H * d] of packed rows -> [P, H, T, d], and back.
Tensor to_heads(const Tensor& x, const Segments& rows, int64_t heads);
Tensor from_heads(const Tensor& heads, const Segments& rows);

/// softmax(scale q k^T + added) v of q [P, H, T, d]; `added` broadcasts to the scores [P, H, T, S], and may be
/// undefined.
Tensor attend_padded(const Tensor& q, const AttentionKeys& keys, const Tensor& added, double scale);

/// What R rows of equal length have been told so far.
class KeyCache {
 public:
  /// Tokens of each row.
  int64_t length() const { return length_; }
  /// One more token, of the layers 0, 1, ... in turn: k, v [R, H, d] -> those of all its row's tokens.
  AttentionKeys append(size_t layer, const Tensor& k, const Tensor& v);
  /// Goes on with these rows alone, [K] int64.
  void keep(const Tensor& rows);

 private:
  Tensor grown(Tensor& all, const Tensor& latest) const;

  std::vector<Tensor> k_, v_;  ///< of each layer [R, H, at least length, d]
  int64_t length_ = 0;
};

}  // namespace rft
