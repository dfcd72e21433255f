#include <ATen/ATen.h>

#include "reward/picture_target.h"

namespace rft {

ColourTarget::ColourTarget(Options options) : options_(std::move(options)) { options_.check("colour_target"); }

std::vector<std::string> ColourTarget::columns() const {
  return options_.column.empty() ? std::vector<std::string>{} : std::vector<std::string>{options_.column};
}

Rewards ColourTarget::score(const Experience& batch) {
  Tensor images = images_of(batch, "colour_target");
  std::vector<std::string> errors;
  Tensor mean = images.mean({2, 3}), wanted = target_of(options_, batch, images, false, errors).mean({2, 3});
  return image_rewards("colour_target", (mean - wanted).square().sum(1).neg(), std::move(errors));
}

}  // namespace rft
