#include "env/canvas.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>

namespace rft {

Canvas::Canvas(int64_t height, int64_t width, Point middle, double half_height)
    : height_(height),
      width_(width),
      middle_(middle),
      pixel_(2 * half_height / static_cast<double>(height)),
      picture_(at::ones({3, height, width}, at::kFloat)) {}

/// `distance`: of a point from the shape, negative inside.
template <class Distance>
void Canvas::fill(const Distance& distance, const Colour& colour) {
  float* out = picture_.data_ptr<float>();
  for (int64_t i = 0; i < height_; ++i)
    for (int64_t j = 0; j < width_; ++j) {
      Point at{middle_.x + (static_cast<double>(j) + 0.5 - 0.5 * static_cast<double>(width_)) * pixel_,
               middle_.y - (static_cast<double>(i) + 0.5 - 0.5 * static_cast<double>(height_)) * pixel_};
      auto covered = static_cast<float>(std::clamp(0.5 - distance(at) / pixel_, 0.0, 1.0));
      if (covered == 0) continue;
      for (int64_t c = 0; c < 3; ++c) {
        float& value = out[(c * height_ + i) * width_ + j];
        value += covered * (colour[static_cast<size_t>(c)] - value);
      }
    }
}

void Canvas::line(Point a, Point b, double width, const Colour& colour) {
  double dx = b.x - a.x, dy = b.y - a.y, length = dx * dx + dy * dy;
  fill(
      [&](Point p) {
        double along = length > 0 ? std::clamp(((p.x - a.x) * dx + (p.y - a.y) * dy) / length, 0.0, 1.0) : 0.0;
        return std::hypot(p.x - a.x - along * dx, p.y - a.y - along * dy) - width / 2;
      },
      colour);
}

void Canvas::box(Point low, Point high, const Colour& colour) {
  fill([&](Point p) { return std::max({low.x - p.x, p.x - high.x, low.y - p.y, p.y - high.y}); }, colour);
}

}  // namespace rft
