// CLIP's image tower: CLIPVisionModel, CLIPVisionModelWithProjection, CLIPModel of transformers.
#include <ATen/ATen.h>

#include "nn/clip_tower.h"
#include "nn/vision_encoders.h"
#include "rft/core/error.h"

namespace rft {
namespace {

const std::vector<double> kMean = {0.48145466, 0.4578275, 0.40821073}, kStd = {0.26862954, 0.26130258, 0.27577711};

class ClipVision : public VisionEncoder {
 public:
  ClipVision(const std::string& json, const std::string& preprocessor, const WeightSource& source,
             const std::string& where)
      : json_(json) {
    ClipPart part = clip_part(json, "vision", where);
    ModelConfig c(part.json, part.whole ? where + ": vision_config" : where);
    ClipShape shape = read_clip_shape(c, {.width = 768, .inner = 3072, .heads = 12});
    input_.size = c.integer("image_size", 224), input_.channels = c.integer("num_channels", 3), input_.crop = true;
    int64_t patch = c.integer("patch_size", 32);
    eps_ = shape.eps;
    c.only("model_type", {"clip_vision_model"});
    c.ignore({"bos_token_id", "eos_token_id", "pad_token_id"});
    c.finish();
    if (patch < 1 || patch > input_.size) c.refuse("patch_size", "must be in 1 .. image_size");
    if (input_.channels != 1 && input_.channels != 3) c.refuse("num_channels", "must be 1 or 3");
    read_normalisation(input_, preprocessor, kMean, kStd, where);
    build(part, source, shape, patch);
  }

  Output forward(const Tensor& images) const override {
    Tensor x = apply(patches_, input_(images).to(position_.scalar_type())).flatten(2).transpose(1, 2);
    x = at::cat({class_.expand({x.size(0), 1, -1}), x}, 1).add(position_);
    Output out;
    out.hidden = layers_(layer_norm(before_, x, eps_), false);
    out.pooled = layer_norm(after_, out.hidden.select(1, 0), eps_);
    if (projection_) out.pooled = apply(*projection_, out.pooled);
    return out;
  }

  int64_t image_size() const override { return input_.size; }
  const std::vector<std::string>& labels() const override { return labels_; }
  const Weights& weights() const override { return weights_; }
  const std::string& config_json() const override { return json_; }

 private:
  void build(const ClipPart& part, const WeightSource& source, const ClipShape& shape, int64_t patch) {
    WeightSource at = clip_source(part, source, "vision"), embeddings = at.in("embeddings");
    int64_t side = input_.size / patch;
    class_ = embeddings.tensor("class_embedding", {shape.width}, Init::normal);
    patches_ = embeddings.conv("patch_embedding", input_.channels, shape.width, patch, patch, 0, false);
    position_ = embeddings.embedding("position_embedding", side * side + 1, shape.width);
    before_ = at.norm("pre_layrnorm", shape.width);
    layers_ = ClipLayers(at, shape);
    after_ = at.norm("post_layernorm", shape.width);
    if (part.projected) projection_ = source.linear("visual_projection", shape.width, part.projection, false);
    weights_ = source.finish();
  }

  std::string json_;
  ImageInput input_;
  double eps_ = 0;
  std::vector<std::string> labels_;
  Tensor class_, position_;
  Conv2d patches_;
  Norm before_, after_;
  ClipLayers layers_;
  std::shared_ptr<Linear> projection_;
  Weights weights_;
};

}  // namespace

std::unique_ptr<VisionEncoder> make_clip_vision(const std::string& config_json, const std::string& preprocessor_json,
                                                const WeightSource& source, const std::string& where) {
  return std::make_unique<ClipVision>(config_json, preprocessor_json, source, where);
}

}  // namespace rft
