#include "rft/nn/vision_encoder.h"

#include <ATen/ATen.h>

#include <algorithm>

#include "nn/clip_tower.h"
#include "nn/vision_encoders.h"
#include "rft/core/error.h"
#include "rft/core/text.h"

namespace rft {
namespace {

/// The short side made `size` as transformers counts it (rounded down), or both.
Tensor resize(const Tensor& x, int64_t size, bool keep_ratio) {
  int64_t h = x.size(2), w = x.size(3), shorter = std::min(h, w);
  int64_t height = keep_ratio ? size * h / shorter : size, width = keep_ratio ? size * w / shorter : size;
  return h == height && w == width ? x : at::_upsample_bicubic2d_aa(x, {height, width}, false);
}

Tensor centre(const Tensor& x, int64_t size) {
  return x.narrow(2, (x.size(2) - size) / 2, size).narrow(3, (x.size(3) - size) / 2, size);
}

}  // namespace

Tensor ImageInput::operator()(const Tensor& images) const {
  return normalise(centre(resize(take(images), size, crop), size));
}

Tensor ImageInput::take(const Tensor& images) const {
  if (images.dim() != 4 || !images.numel() || (images.size(1) != 3 && images.size(1) != 1))
    bad_input("images", "they must be [N, 3, H, W] or [N, 1, H, W]; got ", images.sizes());
  return channels == 1 ? images.mean(1, true) : images;
}

Tensor ImageInput::normalise(const Tensor& x) const {
  auto constant = [&](const std::vector<double>& values) {
    return at::tensor(values, at::kDouble).to(x.options()).view({1, -1, 1, 1});
  };
  return x.sub(constant(mean)).div(constant(std));
}

void read_normalisation(ImageInput& input, const std::string& preprocessor_json, const std::vector<double>& mean,
                        const std::vector<double>& std, const std::string& where) {
  input.mean = mean, input.std = std;
  if (!preprocessor_json.empty()) {
    ModelConfig c(preprocessor_json, where + "/preprocessor_config.json");
    input.mean = c.numbers("image_mean", mean), input.std = c.numbers("image_std", std);
    if (!c.flag("do_normalize", true)) input.mean = {0}, input.std = {1};
  }
  auto count = static_cast<size_t>(input.channels);
  for (auto* values : {&input.mean, &input.std}) {
    if (values->size() == 1 || (count == 1 && values->size() > 1)) *values = std::vector<double>(count, (*values)[0]);
    if (values->size() != count)
      bad_input(where, "image_mean and image_std must have ", count, " numbers, one a channel; got ", values->size());
  }
  if (std::find(input.std.begin(), input.std.end(), 0.0) != input.std.end())
    bad_input(where, "image_std must not be 0");
}

std::unique_ptr<VisionEncoder> make_vision_encoder(const std::string& config_json, const std::string& preprocessor_json,
                                                   const WeightSource& source, const std::string& where) {
  auto architectures = ModelConfig(config_json, where).texts("architectures", {});
  std::string name = architectures.empty() ? "" : architectures[0];
  if (is_clip(name, "vision")) return make_clip_vision(config_json, preprocessor_json, source, where);
  if (name == "ViTForImageClassification") return make_vit(config_json, preprocessor_json, source, where);
  bad_input(
      where, "there is no vision model '", name, "' (config.json's architectures)",
      suggestion(name, {"ViTForImageClassification", "CLIPVisionModel", "CLIPVisionModelWithProjection", "CLIPModel"}));
}

}  // namespace rft
