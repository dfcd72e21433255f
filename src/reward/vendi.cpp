#include <ATen/ATen.h>

#include "reward/frechet_distance.h"
#include "reward/images.h"
#include "reward/sample_sets.h"
#include "reward/vision_model.h"

namespace rft {
namespace {

Tensor similarities(const Tensor& features) {
  Tensor unit = unit_rows(features.to(at::kDouble));
  return unit.mm(unit.t());
}

std::vector<double> vendi_of_all(const Tensor& features) {
  return std::vector<double>(static_cast<size_t>(features.size(0)), vendi_score(similarities(features)));
}

std::vector<double> vendi_gains(const Tensor& features) {
  Tensor similarity = similarities(features);
  const int64_t n = similarity.size(0);
  double all = vendi_score(similarity);
  std::vector<double> out;
  for (int64_t i = 0; i < n; ++i) {
    Tensor kept = at::cat({at::arange(i, at::kLong), at::arange(i + 1, n, at::kLong)});
    out.push_back(all - vendi_score(similarity.index_select(0, kept).index_select(1, kept)));
  }
  return out;
}

}  // namespace

void VendiReward::Options::visit(OptionVisitor& v) {
  encoder_options(v, path, batch_size);
  over_option(v, over);
  v.option("of", of, "row: what the picture adds to its set; set: the whole set's score, the same for each row",
           one_of({"row", "set"}));
}

VendiReward::VendiReward(Options options)
    : options_(std::move(options)), encoder_(optional_encoder(options_.path, "vendi.path")) {}

Rewards VendiReward::score(const Experience& batch) {
  Tensor features = image_features(encoder_.get(), images_of(batch, "vendi"), options_.batch_size);
  return score_sets(batch, "vendi", features, options_.over == "group", 2,
                    options_.of == "set" ? vendi_of_all : vendi_gains);
}

}  // namespace rft
