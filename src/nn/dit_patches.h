#pragma once
/// Samples as tokens, one a square of pixels, that know where they are.
#include <string>

#include "rft/nn/weights.h"

namespace rft {

/// Sines and cosines of the places of a grid of h x w -> [1, h w, width] float32, width a multiple of 4. A side of any
/// length spans 0 .. base: another resolution stretches the places that the model knows.
Tensor sincos_positions(int64_t h, int64_t w, int64_t width, int64_t base);

/// diffusers' PatchEmbed with fixed positions, and its inverse at the end of a model.
class Patches {
 public:
  struct Shape {
    int64_t sample_size = 0, patch = 2, in_channels = 0, out_channels = 0, width = 0;
    /// Side of the saved table of positions, of which the middle is used; 0 = no table, positions are stretched.
    int64_t most = 0;
  };
  Patches() = default;
  /// Takes NAME.proj and, with a table, NAME.pos_embed.
  Patches(const WeightSource& source, const std::string& name, const Shape& shape);

  /// sample [N, in_channels, h, w] -> [N, h w / patch^2, width]. Throws UserError where it exceeds the table.
  Tensor embed(const Tensor& sample) const;
  /// tokens [N, h w / patch^2, patch^2 out_channels] -> [N, out_channels, h, w].
  Tensor assemble(const Tensor& tokens, int64_t h, int64_t w) const;

 private:
  Tensor positions(int64_t h, int64_t w) const;
  Shape shape_;
  Conv2d proj_;
  Tensor table_;  ///< [1, most^2, width], or that of sample_size
};

}  // namespace rft
