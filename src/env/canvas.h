#pragma once
/// A small picture of a flat world: discs and thick lines, anti-aliased by their distance to a pixel's middle.
#include <array>

#include "rft/core/tensor.h"

namespace rft {

using Colour = std::array<float, 3>;  ///< red, green, blue in [0, 1]

/// Of things that are told apart by their colours.
inline constexpr Colour kPalette[] = {
    {0.15f, 0.4f, 0.75f}, {0.85f, 0.35f, 0.25f}, {0.25f, 0.65f, 0.35f}, {0.6f, 0.4f, 0.7f}};

struct Point {
  double x = 0, y = 0;
};

class Canvas {
 public:
  /// White; `middle` is in the centre, `half_height` world units reach from there to the upper edge.
  Canvas(int64_t height, int64_t width, Point middle, double half_height);
  /// From a to b, `width` world units thick, with round ends.
  void line(Point a, Point b, double width, const Colour& colour);
  void disc(Point centre, double radius, const Colour& colour) { line(centre, centre, 2 * radius, colour); }
  /// Fills an upright box.
  void box(Point low, Point high, const Colour& colour);
  /// [3, height, width]
  const Tensor& picture() const { return picture_; }

 private:
  template <class Distance>
  void fill(const Distance& distance, const Colour& colour);

  int64_t height_, width_;
  Point middle_;
  double pixel_;  ///< world units
  Tensor picture_;
};

}  // namespace rft
