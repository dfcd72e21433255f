#include "rft/nn/dense_predictor.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>

#include "nn/dense_predictors.h"
#include "rft/core/error.h"
#include "rft/core/text.h"

namespace rft {
namespace {

/// A side as DPT's image processor rounds it: to the nearest multiple, of two as near ones the even.
int64_t rounded(double side, int64_t multiple) {
  return std::max<int64_t>(std::llrint(side / static_cast<double>(multiple)), 1) * multiple;
}

/// `size`: one number for both sides, or {"height": ..., "width": ...}.
void read_size(ModelConfig& c, DenseInput& input) {
  const auto& size = c.raw("size");
  if (size.is_null()) return;
  if (size.is_object()) {
    ModelConfig sides = ModelConfig::of(size, c.where() + ": size");
    input.height = sides.integer("height", 0), input.width = sides.integer("width", 0);
    sides.finish();
  } else {
    input.height = input.width = c.integer("size", 0);
  }
  if (input.height < 1 || input.width < 1) c.refuse("size", "must have height and width, both at least 1");
}

void read_resizing(ModelConfig& c, DenseInput& input) {
  constexpr int64_t kBilinear = 2, kBicubic = 3;  // PIL's numbers
  input.resize = c.flag("do_resize", true);
  c.only("resample", {kBilinear, kBicubic});
  input.bilinear = c.integer("resample", input.bilinear ? kBilinear : kBicubic) == kBilinear;
  input.keep_ratio = c.flag("keep_aspect_ratio", false), input.multiple = c.integer("ensure_multiple_of", 1);
  if (input.multiple < 1) c.refuse("ensure_multiple_of", "must be at least 1");
  c.only("do_pad", {false}), c.only("do_center_crop", {false});
}

}  // namespace

Tensor DenseInput::operator()(const Tensor& images) const {
  Tensor x = pixels.take(images);
  if (!resize) return pixels.normalise(x);
  double down = static_cast<double>(height) / static_cast<double>(x.size(2));
  double across = static_cast<double>(width) / static_cast<double>(x.size(3));
  if (keep_ratio) down = across = std::abs(1 - across) < std::abs(1 - down) ? across : down;
  std::vector<int64_t> size{rounded(down * static_cast<double>(x.size(2)), multiple),
                            rounded(across * static_cast<double>(x.size(3)), multiple)};
  if (x.sizes().slice(2) != at::IntArrayRef(size))
    x = bilinear ? at::_upsample_bilinear2d_aa(x, size, /*align_corners=*/false)
                 : at::_upsample_bicubic2d_aa(x, size, /*align_corners=*/false);
  return pixels.normalise(x);
}

DenseInput read_dense_input(const std::string& preprocessor_json, DenseInput usual, const std::string& where) {
  DenseInput input = std::move(usual);
  read_normalisation(input.pixels, preprocessor_json, input.pixels.mean, input.pixels.std, where);
  if (preprocessor_json.empty()) return input;
  ModelConfig c(preprocessor_json, where + "/preprocessor_config.json");
  read_size(c, input), read_resizing(c, input);
  // Images are in [0, 1] already, which is what rescaling by 1 / 255 comes to.
  c.only("do_rescale", {true});
  if (std::abs(c.number("rescale_factor", 1.0 / 255) * 255 - 1) > 1e-6) c.refuse("rescale_factor", "must be 1 / 255");
  c.ignore({"image_mean", "image_std", "do_normalize", "crop_size", "size_divisor", "pad_size", "do_convert_rgb"});
  // Labels are the reward's; the rest is about containers and devices.
  c.ignore({"do_reduce_labels", "reduce_labels", "image_processor_type", "feature_extractor_type", "processor_class",
            "data_format", "input_data_format", "device", "return_tensors", "disable_grouping", "default_to_square",
            "image_seq_length"});
  c.finish();
  return input;
}

std::unique_ptr<DensePredictor> make_dense_predictor(const std::string& config_json,
                                                     const std::string& preprocessor_json, const WeightSource& source,
                                                     const std::string& where) {
  auto architectures = ModelConfig(config_json, where).texts("architectures", {});
  std::string name = architectures.empty() ? "" : architectures[0];
  if (name == "SegformerForSemanticSegmentation") return make_segformer(config_json, preprocessor_json, source, where);
  if (name == "DPTForDepthEstimation") return make_dpt(config_json, preprocessor_json, source, where);
  if (name == "DepthAnythingForDepthEstimation")
    return make_depth_anything(config_json, preprocessor_json, source, where);
  bad_input(where, "there is no segmentation or depth model '", name, "' (config.json's architectures)",
            suggestion(name, {"SegformerForSemanticSegmentation", "DPTForDepthEstimation",
                              "DepthAnythingForDepthEstimation"}));
}

}  // namespace rft
