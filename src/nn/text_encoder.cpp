#include "rft/nn/text_encoder.h"

#include <ATen/ATen.h>

#include "nn/clip_tower.h"
#include "nn/text_encoders.h"
#include "rft/core/error.h"
#include "rft/core/text.h"

namespace rft {
namespace {

/// Older directories have this number whatever their end token is: the largest id is meant.
constexpr int64_t kEndUnknown = 2;

class ClipText : public TextEncoder {
 public:
  ClipText(const std::string& json, const WeightSource& source, const std::string& where) : json_(json), where_(where) {
    ClipPart part = clip_part(json, "text", where);
    ModelConfig c(part.json, part.whole ? where + ": text_config" : where);
    ClipShape shape = read_clip_shape(c, {});
    vocabulary_ = c.integer("vocab_size", 49408), positions_ = c.integer("max_position_embeddings", 77);
    end_ = c.integer("eos_token_id", 49407), eps_ = shape.eps;
    c.only("model_type", {"clip_text_model"});
    c.ignore({"bos_token_id", "pad_token_id"});
    c.finish();
    WeightSource at = clip_source(part, source, "text");
    token_ = at.embedding("embeddings.token_embedding", vocabulary_, shape.width);
    position_ = at.embedding("embeddings.position_embedding", positions_, shape.width);
    layers_ = ClipLayers(at, shape);
    norm_ = at.norm("final_layer_norm", shape.width);
    if (part.projected) projection_ = source.linear("text_projection", shape.width, part.projection, false);
    weights_ = source.finish();
  }

  Output forward(const Tensor& ids) const override {
    check_token_ids(ids, vocabulary_, positions_, where_);
    Tensor x = at::embedding(token_, ids).add(position_.narrow(0, 0, ids.size(1)));
    Output out;
    out.hidden = layer_norm(norm_, layers_(x, true, &out.penultimate), eps_);
    Tensor end = (end_ == kEndUnknown ? ids : ids.eq(end_).to(at::kInt)).argmax(1).view({-1, 1, 1});
    out.pooled = out.hidden.gather(1, end.expand({-1, 1, out.hidden.size(2)})).squeeze(1);
    if (projection_) out.pooled = apply(*projection_, out.pooled);
    return out;
  }

  int64_t max_positions() const override { return positions_; }
  const Weights& weights() const override { return weights_; }
  const std::string& config_json() const override { return json_; }

 private:
  std::string json_, where_;
  int64_t vocabulary_ = 0, positions_ = 0, end_ = 0;
  double eps_ = 0;
  Tensor token_, position_;
  ClipLayers layers_;
  Norm norm_;
  std::shared_ptr<Linear> projection_;
  Weights weights_;
};

}  // namespace

void check_token_ids(const Tensor& ids, int64_t vocabulary, int64_t positions, const std::string& where) {
  if (ids.dim() != 2 || !ids.numel() || (positions > 0 && ids.size(1) > positions))
    bad_input(where, "token ids must be [N, L], L ", positions > 0 ? cat("in 1 .. ", positions) : "at least 1",
              "; got ", ids.sizes());
  int64_t least = ids.min().item<int64_t>(), most = ids.max().item<int64_t>();
  if (least < 0 || most >= vocabulary)
    bad_input(where, "token ids must be in 0 .. ", vocabulary - 1, "; got ", least < 0 ? least : most,
              ": does the tokenizer belong to this model?");
}

std::unique_ptr<TextEncoder> make_text_encoder(const std::string& config_json, const WeightSource& source,
                                               const std::string& where) {
  auto architectures = ModelConfig(config_json, where).texts("architectures", {});
  std::string name = architectures.empty() ? "" : architectures[0];
  if (is_clip(name, "text")) return std::make_unique<ClipText>(config_json, source, where);
  if (name == "T5EncoderModel" || name == "T5ForConditionalGeneration") return make_t5(config_json, source, where);
  bad_input(where, "there is no text encoder '", name, "' (config.json's architectures)",
            suggestion(name, {"CLIPTextModel", "CLIPTextModelWithProjection", "CLIPModel", "T5EncoderModel"}));
}

}  // namespace rft
