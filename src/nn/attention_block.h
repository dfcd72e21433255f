#pragma once
/// The block of diffusers' U-Net transformers (BasicTransformerBlock with layer norms and GEGLU).
#include <memory>

#include "rft/nn/weights.h"

namespace rft {

class AttentionBlock {
 public:
  /// `from` is the width of what the second attention looks at.
  AttentionBlock(const WeightSource& source, int64_t channels, int64_t heads, int64_t from);
  /// x [N, L, C] -> the same. The second attention looks at `other` [N, M, from], or where that is undefined at x
  /// itself. `positions` [L, C] (or undefined) are added to what both attentions see.
  Tensor operator()(Tensor x, const Tensor& other, const Tensor& positions = {}) const;

 private:
  struct Attention {
    std::shared_ptr<Linear> q, k, v, out;
  };
  Attention attention(const WeightSource& source, int64_t from) const;
  Tensor attend(const Attention& attention, const Tensor& x, const Tensor& from) const;

  int64_t channels_, heads_;
  Norm norm1_, norm2_, norm3_;
  Attention first_, second_;
  std::shared_ptr<Linear> up_, down_;
};

}  // namespace rft
