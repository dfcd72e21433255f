#include <ATen/ATen.h>

#include "reward/picture_target.h"

namespace rft {

PixelTarget::PixelTarget(Options options) : options_(std::move(options)) { options_.check("pixel_target"); }

std::vector<std::string> PixelTarget::columns() const {
  return options_.column.empty() ? std::vector<std::string>{} : std::vector<std::string>{options_.column};
}

Rewards PixelTarget::score(const Experience& batch) {
  Tensor images = images_of(batch, "pixel_target");
  std::vector<std::string> errors;
  Tensor wanted = target_of(options_, batch, images, true, errors);
  return image_rewards("pixel_target", (images - wanted).square().sum(1).mean({1, 2}).neg(), std::move(errors));
}

}  // namespace rft
