#include <ATen/ATen.h>

#include "reward/frechet_distance.h"
#include "reward/images.h"
#include "reward/sample_sets.h"

namespace rft {

void FrechetReward::Options::visit(OptionVisitor& v) {
  encoder_options(v, path, batch_size);
  reference_option(v, reference);
  over_option(v, over);
}

FrechetReward::FrechetReward(Options options)
    : options_(std::move(options)),
      encoder_(optional_encoder(options_.path, "frechet.path")),
      reference_(load_reference(options_.reference, "frechet.reference",
                                [&](const Tensor& image) { return image_features(encoder_.get(), image, 1); })) {}

Rewards FrechetReward::score(const Experience& batch) {
  Tensor features = image_features(encoder_.get(), images_of(batch, "frechet"), options_.batch_size);
  check_width(features, reference_, options_.reference);
  return score_sets(batch, "frechet", features, options_.over == "group", 3,
                    [&](const Tensor& rows) { return frechet_gains(rows, reference_); });
}

}  // namespace rft
