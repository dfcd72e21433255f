#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

#include <map>

#include "reward/images.h"
#include "reward/vision_model.h"
#include "rft/core/error.h"
#include "rft/reward/vision_rewards.h"

namespace rft {
namespace {

/// [B, D] of length 1; zeros where there is no picture. A picture that several rows share is looked at once.
Tensor reference_features(const VisionEncoder& model, const RowImages& rows, int64_t width) {
  at::NoGradGuard no_grad;
  std::map<const void*, Tensor> known;
  std::vector<Tensor> out;
  for (const Tensor& image : rows.images) {
    if (!image.defined()) {
      out.push_back(at::zeros({1, width}));
      continue;
    }
    Tensor& features = known[image.data_ptr()];
    if (!features.defined())
      features = encode_unit(model, image.unsqueeze(0).expand({1, 3, image.size(1), image.size(2)}), 1);
    out.push_back(features);
  }
  return at::cat(out);
}

}  // namespace

void FeatureCosine::Options::visit(OptionVisitor& v) {
  model_options(v, path, "a Hugging Face directory (CLIP or ViT)", batch_size);
  v.option("column", column, "the dataset's column with PNG files that the pictures should resemble");
  directory_option(v, directory);
}

FeatureCosine::FeatureCosine(Options options)
    : options_(std::move(options)), vision_(load_vision_encoder(options_.path, "feature_cosine.path")) {}

Rewards FeatureCosine::score(const Experience& batch) {
  Tensor own = encode_unit(*vision_, images_of(batch, "feature_cosine"), options_.batch_size);
  RowImages rows = column_images(batch, options_.column, options_.directory);
  Tensor wanted = reference_features(*vision_, rows, own.size(1));
  return image_rewards("feature_cosine", own.mul(wanted).sum(1), std::move(rows.errors));
}

}  // namespace rft
