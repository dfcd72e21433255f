#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

#include "reward/frechet_distance.h"
#include "reward/images.h"
#include "reward/per_row.h"
#include "reward/sample_sets.h"
#include "reward/vision_model.h"
#include "rft/core/error.h"

namespace rft {

void DragonReward::Options::visit(OptionVisitor& v) {
  encoder_options(v, path, batch_size);
  reference_option(v, reference);
  v.option("patch", patch, "without an encoder: the side of a patch, whose pixels are its features",
           between(1, 32).in("pixels"));
}

DragonReward::DragonReward(Options options)
    : options_(std::move(options)),
      encoder_(optional_encoder(options_.path, "dragon.path")),
      reference_(load_reference(options_.reference, "dragon.reference",
                                [&](const Tensor& image) { return patches(image)[0]; })) {}

Tensor DragonReward::patches(const Tensor& images) const {
  at::NoGradGuard no_grad;
  if (encoder_) {  // the first token stands for the whole picture
    Tensor tokens = encode(*encoder_, images, options_.batch_size, &VisionEncoder::Output::hidden);
    return tokens.slice(1, 1);
  }
  const int64_t p = options_.patch;
  if (images.size(2) % p != 0 || images.size(3) % p != 0 || images.size(2) * images.size(3) < 2 * p * p)
    bad_input("dragon.patch", "two or more patches of ", p, " x ", p, " pixels must fill a picture; it has ",
              images.size(3), " x ", images.size(2));
  return at::im2col(images.detach().to(at::kFloat), {p, p}, {1, 1}, {0, 0}, {p, p}).transpose(1, 2);
}

Rewards DragonReward::score(const Experience& batch) {
  Tensor features = patches(images_of(batch, "dragon"));
  check_width(features, reference_, options_.reference);
  return score_rows(batch, "dragon", [&](int64_t row) {
    if (!features[row].isfinite().all().item<bool>()) run_failed("dragon", "the picture's features are not finite");
    return -frechet_distance(features[row], reference_);
  });
}

}  // namespace rft
