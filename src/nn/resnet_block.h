#pragma once
/// The convolutional blocks that U-Nets and autoencoders share.
#include <string>

#include "rft/nn/weights.h"

namespace rft {

/// Norm, activation, convolution, twice, around a shortcut (diffusers' ResnetBlock2D). temb_channels 0: no time.
struct ResnetBlock {
  struct Shape {
    int64_t in = 0, out = 0, temb_channels = 0, groups = 32;
    double eps = 1e-6;
    std::string activation = "silu";
    bool scale_shift = false;  ///< the time scales and shifts the second norm instead of being added before it
    double output_scale = 1;   ///< the sum is divided by it
  };
  ResnetBlock(const WeightSource& source, const Shape& shape);
  /// x [N, in, h, w], temb [N, temb_channels] (after its activation) or undefined -> [N, out, h, w].
  Tensor operator()(const Tensor& x, const Tensor& temb) const;

 private:
  Shape shape_;
  Norm norm1_, norm2_;
  Conv2d conv1_, conv2_, shortcut_;
  std::shared_ptr<Linear> time_;
};

/// Self-attention over the pixels of a feature map (diffusers' Attention of AttnDownBlock2D and autoencoders). groups
/// 0: without a norm.
struct PixelAttention {
  PixelAttention(const WeightSource& source, int64_t channels, int64_t head_dim, int64_t groups, double eps,
                 double output_scale = 1);
  Tensor operator()(const Tensor& x) const;

 private:
  int64_t heads_, groups_;
  double eps_, output_scale_;
  Norm norm_;
  std::shared_ptr<Linear> q_, k_, v_, out_;
};

/// Halves height and width by a strided convolution; padding 0 pads right and bottom alone (autoencoders).
struct Downsample {
  Downsample(const WeightSource& source, int64_t channels, int64_t padding = 1);
  Tensor operator()(const Tensor& x) const;

 private:
  Conv2d conv_;
};

/// Doubles height and width (to `size` where given), then a convolution.
struct Upsample {
  Upsample(const WeightSource& source, int64_t channels);
  Tensor operator()(const Tensor& x, at::IntArrayRef size = {}) const;

 private:
  Conv2d conv_;
};

}  // namespace rft
