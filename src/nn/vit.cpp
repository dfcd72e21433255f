// ViTForImageClassification of transformers (Dosovitskiy et al. 2021, arXiv:2010.11929).
#include <ATen/ATen.h>

#include "nn/transformers_config.h"
#include "nn/vision_encoders.h"
#include "nn/vit_trunk.h"

namespace rft {
namespace {

class Vit : public VisionEncoder {
 public:
  Vit(const std::string& json, const std::string& preprocessor, const WeightSource& source, const std::string& where)
      : json_(json) {
    ModelConfig c(json, where);
    VitShape shape = read_vit_shape(c, 224);
    input_.size = shape.image, input_.channels = shape.channels;
    labels_ = label_names(c);
    c.only("model_type", {"vit"});
    c.ignore({"encoder_stride"});
    ignore_general_fields(c);
    c.finish();
    read_normalisation(input_, preprocessor, {0.5}, {0.5}, where);
    trunk_ = VitTrunk(source.in("vit"), shape);
    classifier_ = source.linear("classifier", shape.width, static_cast<int64_t>(labels_.size()));
    weights_ = source.finish();
  }

  Output forward(const Tensor& images) const override {
    Tensor x = trunk_.embed(input_(images));
    for (int64_t i = 0; i < trunk_.size(); ++i) x = trunk_.layer(i, x);
    Output out;
    out.hidden = trunk_.norm(x);
    out.pooled = out.hidden.select(1, 0);
    out.logits = apply(*classifier_, out.pooled);
    return out;
  }

  int64_t image_size() const override { return input_.size; }
  const std::vector<std::string>& labels() const override { return labels_; }
  const Weights& weights() const override { return weights_; }
  const std::string& config_json() const override { return json_; }

 private:
  std::string json_;
  ImageInput input_;
  std::vector<std::string> labels_;
  VitTrunk trunk_;
  std::shared_ptr<Linear> classifier_;
  Weights weights_;
};

}  // namespace

std::unique_ptr<VisionEncoder> make_vit(const std::string& config_json, const std::string& preprocessor_json,
                                        const WeightSource& source, const std::string& where) {
  return std::make_unique<Vit>(config_json, preprocessor_json, source, where);
}

}  // namespace rft
