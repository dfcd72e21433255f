#pragma once
/// The block of SD3 and of Flux's first half: two streams that meet in attention (diffusers' JointTransformerBlock and
/// FluxTransformerBlock; Esser et al. 2024, arXiv:2403.03206).
#include <optional>

#include "nn/dit_layers.h"
#include "nn/joint_attention.h"

namespace rft {

class JointBlock {
 public:
  struct Shape {
    int64_t width = 0, heads = 1;
    bool qk_norm = false;
    bool last = false;  ///< gives out the image alone
    bool dual = false;  ///< the image attends to itself too
  };
  JointBlock(const WeightSource& source, const Shape& shape);

  /// tokens [N, L, D] of which the first `text_length` are text, told [N, D] after its SiLU -> [N, L, D], or without
  /// the text from the last block.
  Tensor operator()(const Tensor& tokens, int64_t text_length, const Tensor& told, const Rotation& rotation = {}) const;

 private:
  Tensor text_out(const Tensor& text, const std::vector<Tensor>& told, const Tensor& mixed) const;

  Shape shape_;
  Modulation norm1_, norm1_context_;
  AttentionStream image_, text_;
  std::optional<AttentionStream> dual_;
  FeedForward ff_, ff_context_;
};

}  // namespace rft
