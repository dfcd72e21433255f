#pragma once
/// The architectures that make_vision_encoder knows, and how all of them take images.
#include "core/model_config.h"
#include "rft/nn/vision_encoder.h"

namespace rft {

/// What preprocessor_config.json says of an image model's input.
struct ImageInput {
  int64_t size = 224, channels = 3;
  bool crop = false;  ///< the short side is made `size`, then the centre is cut out; else both sides are made `size`
  std::vector<double> mean, std;

  /// images [N, 3 or 1, H, W] in [0, 1] -> [N, channels, size, size], resized (bicubic, antialiased) and normalised.
  Tensor operator()(const Tensor& images) const;
  /// images [N, 3 or 1, H, W] -> [N, channels, H, W]: the mean over channels where there is one. Throws UserError for
  /// another shape.
  Tensor take(const Tensor& images) const;
  /// x [N, channels, h, w] less `mean`, over `std`.
  Tensor normalise(const Tensor& x) const;
};

/// image_mean and image_std of `preprocessor_json`, or these where it is "".
void read_normalisation(ImageInput& input, const std::string& preprocessor_json, const std::vector<double>& mean,
                        const std::vector<double>& std, const std::string& where);

std::unique_ptr<VisionEncoder> make_clip_vision(const std::string& config_json, const std::string& preprocessor_json,
                                                const WeightSource& source, const std::string& where);
std::unique_ptr<VisionEncoder> make_vit(const std::string& config_json, const std::string& preprocessor_json,
                                        const WeightSource& source, const std::string& where);

}  // namespace rft
