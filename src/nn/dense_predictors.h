#pragma once
/// The architectures that make_dense_predictor knows, and how all of them take images.
#include "nn/vision_encoders.h"
#include "rft/nn/dense_predictor.h"

namespace rft {

/// What preprocessor_config.json says of a dense model's input.
struct DenseInput {
  ImageInput pixels = {};  ///< channels, mean, std
  int64_t height = 0, width = 0;
  bool resize = true, bilinear = false;  ///< else bicubic
  bool keep_ratio = false;               ///< one of the two sides is met, the one that changes the image's size less
  int64_t multiple = 1;                  ///< the sides are rounded to multiples of it

  /// images [N, 3 or 1, H, W] in [0, 1] -> [N, channels, h, w], resized (with antialiasing) and normalised.
  Tensor operator()(const Tensor& images) const;
};

/// The fields that are missing, all of them where `preprocessor_json` is "", are `usual`'s. Throws UserError naming the
/// field that would change the computation in another way.
DenseInput read_dense_input(const std::string& preprocessor_json, DenseInput usual, const std::string& where);

std::unique_ptr<DensePredictor> make_segformer(const std::string& config_json, const std::string& preprocessor_json,
                                               const WeightSource& source, const std::string& where);
std::unique_ptr<DensePredictor> make_dpt(const std::string& config_json, const std::string& preprocessor_json,
                                         const WeightSource& source, const std::string& where);
std::unique_ptr<DensePredictor> make_depth_anything(const std::string& config_json,
                                                    const std::string& preprocessor_json, const WeightSource& source,
                                                    const std::string& where);

}  // namespace rft
