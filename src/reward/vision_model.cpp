#include "reward/vision_model.h"

#include <ATen/ATen.h>

#include "rft/core/error.h"
#include "rft/io/files.h"
#include "rft/io/hf_directory.h"

namespace rft {
namespace {

/// "" where the directory has none.
std::string preprocessor_config(const std::string& directory) {
  std::string file = directory + "/preprocessor_config.json";
  return file_exists(file) ? read_text(file) : "";
}

}  // namespace

std::string model_config(const std::string& directory, const std::string& where) {
  std::string file = directory + "/config.json";
  if (!file_exists(file)) bad_input(where, "there is no model directory '", directory, "' (with a config.json)");
  return read_text(file);
}

std::map<std::string, Tensor> tower_tensors(const std::string& directory, const std::string& tower) {
  auto tensors = load_hf_tensors(directory);
  auto begins = [](const std::string& name, const std::string& start) { return name.starts_with(start); };
  bool both = tensors.count("logit_scale") > 0;
  const std::string projection = tower == "vision" ? "visual_projection." : "text_projection.";
  if (both)
    std::erase_if(tensors, [&](const auto& entry) {
      return !begins(entry.first, tower + "_model.") && !begins(entry.first, projection);
    });
  return tensors;
}

std::unique_ptr<VisionEncoder> load_vision_encoder(const std::string& directory, const std::string& where) {
  std::string config = model_config(directory, where);
  return make_vision_encoder(config, preprocessor_config(directory),
                             WeightSource(tower_tensors(directory, "vision"), at::kFloat, directory), directory);
}

std::unique_ptr<DensePredictor> load_dense_predictor(const std::string& directory, const std::string& where) {
  std::string config = model_config(directory, where);
  return make_dense_predictor(config, preprocessor_config(directory),
                              WeightSource(load_hf_tensors(directory), at::kFloat, directory), directory);
}

Tensor encode(const VisionEncoder& model, const Tensor& images, int64_t batch_size,
              Tensor VisionEncoder::Output::*output) {
  std::vector<Tensor> parts;
  for (const Tensor& part : images.to(at::kFloat).split(batch_size)) parts.push_back(model.forward(part).*output);
  return parts.size() == 1 ? parts[0] : at::cat(parts);
}

Tensor encode_unit(const VisionEncoder& model, const Tensor& images, int64_t batch_size) {
  return unit_rows(encode(model, images, batch_size));
}

Tensor unit_rows(const Tensor& x) { return x / x.norm(2, -1, true).clamp_min(1e-12); }

void model_options(OptionVisitor& v, std::string& path, const char* what, int64_t& batch_size) {
  v.option("path", path, what, required());
  v.option("batch_size", batch_size, "pictures at a time; fewer take less memory", at_least(1).in("images"));
}

}  // namespace rft
