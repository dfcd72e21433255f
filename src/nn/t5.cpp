// T5's encoder (Raffel et al. 2020, arXiv:1910.10683): transformers' T5EncoderModel.
#include <ATen/ATen.h>

#include "nn/encoder_decoder.h"
#include "nn/t5_layers.h"
#include "nn/text_encoders.h"

namespace rft {
namespace {

class T5 : public TextEncoder {
 public:
  T5(const std::string& json, const WeightSource& source, const std::string& where)
      : json_(json), where_(where), shape_(T5Shape::of(json, where)) {
    source.ignore("decoder"), source.ignore("lm_head");
    token_ = shared_embedding(source, shape_.vocabulary, shape_.width, {"encoder"}, where);
    layers_ = T5Stack(source.in("encoder"), shape_, false, where);
    weights_ = source.finish();
  }

  Output forward(const Tensor& ids) const override {
    check_token_ids(ids, shape_.vocabulary, 0, where_);
    const Segments rows(std::vector<int64_t>(static_cast<size_t>(ids.size(0)), ids.size(1)));
    const auto unpacked = [&](const Tensor& x) { return x.unflatten(0, {ids.size(0), ids.size(1)}); };
    Output out;
    out.hidden = unpacked(layers_.encode(at::embedding(token_, ids.flatten()), rows, &out.penultimate));
    out.penultimate = unpacked(out.penultimate);
    return out;
  }

  int64_t max_positions() const override { return 0; }
  const Weights& weights() const override { return weights_; }
  const std::string& config_json() const override { return json_; }

 private:
  std::string json_, where_;
  T5Shape shape_;
  Tensor token_;
  T5Stack layers_;
  Weights weights_;
};

}  // namespace

std::unique_ptr<TextEncoder> make_t5(const std::string& config_json, const WeightSource& source,
                                     const std::string& where) {
  return std::make_unique<T5>(config_json, source, where);
}

}  // namespace rft
