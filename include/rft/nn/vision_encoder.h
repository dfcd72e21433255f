#pragma once
/// Vision transformers: CLIP's image tower (CLIPVisionModel, CLIPVisionModelWithProjection, CLIPModel) and
/// ViTForImageClassification.
#include <memory>
#include <string>
#include <vector>

#include "rft/nn/weights.h"

namespace rft {

class VisionEncoder {
 public:
  virtual ~VisionEncoder() = default;
  struct Output {
    Tensor hidden;  ///< [N, L, D] all tokens: CLIP's last_hidden_state (before post_layernorm), ViT's after its norm
    Tensor pooled;  ///< [N, D], CLIP's after post_layernorm, ViT's class token; [N, P] where there is a projection
    Tensor logits;  ///< [N, labels] of a classifier (num_labels 1: a regressor); else undefined
  };
  /// images [N, 3, H, W] in [0, 1], any H and W: resized (bicubic, antialiased; the short side, then a centre crop for
  /// CLIP; straight to H = W = image_size for ViT) and normalised inside, differentiably. A model of num_channels 1
  /// takes the mean over channels.
  virtual Output forward(const Tensor& images) const = 0;
  virtual int64_t image_size() const = 0;
  virtual const std::vector<std::string>& labels() const = 0;  ///< id2label's names, in order; empty without a head
  virtual const Weights& weights() const = 0;
  virtual const std::string& config_json() const = 0;
};

/// `preprocessor_json` is preprocessor_config.json (image_mean, image_std), "" where there is none: CLIP's or ViT's
/// usual numbers. Throws UserError naming `where`, as make_denoiser() does.
std::unique_ptr<VisionEncoder> make_vision_encoder(const std::string& config_json, const std::string& preprocessor_json,
                                                   const WeightSource& source, const std::string& where);

}  // namespace rft
