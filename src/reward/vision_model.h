#pragma once
/// Vision models as rewards use them.
#include <map>
#include <memory>
#include <string>

#include "rft/core/options.h"
#include "rft/nn/dense_predictor.h"
#include "rft/nn/vision_encoder.h"

namespace rft {

/// config.json of a Hugging Face directory. Throws UserError naming `where` (the option) and the directory.
std::string model_config(const std::string& directory, const std::string& where);
/// Those of the directory's tensors that belong to one tower of a CLIPModel; all of another model's.
std::map<std::string, Tensor> tower_tensors(const std::string& directory, const std::string& tower);

/// The image tower of a CLIP directory, or a ViT, frozen, in float32.
std::unique_ptr<VisionEncoder> load_vision_encoder(const std::string& directory, const std::string& where);

/// A segmentation or depth model, frozen, in float32.
std::unique_ptr<DensePredictor> load_dense_predictor(const std::string& directory, const std::string& where);

/// One of the model's outputs for images [N, 3, H, W], computed `batch_size` images at a time, with their graph.
Tensor encode(const VisionEncoder& model, const Tensor& images, int64_t batch_size,
              Tensor VisionEncoder::Output::*output = &VisionEncoder::Output::pooled);
/// The same, each row divided by its length.
Tensor encode_unit(const VisionEncoder& model, const Tensor& images, int64_t batch_size);
/// x [N, D] / max(|x|, 1e-12).
Tensor unit_rows(const Tensor& x);

/// "path" and "batch_size".
void model_options(OptionVisitor& v, std::string& path, const char* what, int64_t& batch_size);

}  // namespace rft
