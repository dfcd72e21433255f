#pragma once
/// Attention of a video's frames to each other, place by place: AnimateDiff's motion modules (Guo et al. 2023,
/// arXiv:2307.04725; diffusers' AnimateDiffTransformer3D).
#include <vector>

#include "nn/attention_block.h"

namespace rft {

class MotionTransformer {
 public:
  struct Shape {
    int64_t channels = 0, heads = 8, layers = 1, max_frames = 32, groups = 32;
  };
  MotionTransformer(const WeightSource& source, const Shape& shape);
  /// x [N * frames, C, h, w], a video's frames one after another -> the same. Throws UserError on more frames than
  /// there are positions.
  Tensor operator()(const Tensor& x, int64_t frames) const;

 private:
  Shape shape_;
  Norm norm_;
  std::shared_ptr<Linear> in_, out_;
  std::vector<AttentionBlock> blocks_;
  std::vector<Tensor> positions_;  ///< [1, max_frames, C], one a block
};

}  // namespace rft
