#pragma once
/// Models that say something of every place of an image: SegformerForSemanticSegmentation (Xie et al. 2021,
/// arXiv:2105.15203), DPTForDepthEstimation on a ViT (Ranftl et al. 2021, arXiv:2103.13413; MiDaS' dpt-large) and
/// DepthAnythingForDepthEstimation on DINOv2 (Yang et al. 2024, arXiv:2401.10891), from transformers' directories.
#include <memory>
#include <string>
#include <vector>

#include "rft/nn/weights.h"

namespace rft {

class DensePredictor {
 public:
  virtual ~DensePredictor() = default;
  /// images [N, 3, H, W] in [0, 1], any H and W: resized as preprocessor_config.json says (with antialiasing) and
  /// normalised inside, differentiably -> of a segmentation model logits [N, classes, h, w], h and w a quarter of the
  /// resized image's; of a depth model [N, h, w], in the model's own unit (DPT and Depth Anything: relative inverse
  /// depth, at least 0, larger is nearer; metric Depth Anything: metres). Batch norms use their running statistics.
  virtual Tensor forward(const Tensor& images) const = 0;
  virtual const std::vector<std::string>& labels() const = 0;  ///< the classes' names, in order; empty: depth
  virtual const Weights& weights() const = 0;
  virtual const std::string& config_json() const = 0;
};

/// `preprocessor_json` is preprocessor_config.json, "" where there is none: the architecture's usual numbers. Throws
/// UserError naming `where` and the field, tensor or architecture that is not known, as make_vision_encoder() does.
std::unique_ptr<DensePredictor> make_dense_predictor(const std::string& config_json,
                                                     const std::string& preprocessor_json, const WeightSource& source,
                                                     const std::string& where);

}  // namespace rft
