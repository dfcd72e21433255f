#pragma once
/// What makes vectors of a prompt: CLIP's text tower, T5's encoder.
#include <memory>
#include <string>

#include "rft/nn/weights.h"

namespace rft {

class TextEncoder {
 public:
  virtual ~TextEncoder() = default;
  struct Output {
    Tensor hidden;       ///< [N, L, D] after the final layer norm
    Tensor penultimate;  ///< [N, L, D] the last layer's input, without the final norm (SDXL, SD3)
    Tensor pooled;       ///< [N, D], or [N, P] after the projection where there is one; undefined of T5
  };
  /// ids [N, L] int64, padded as the tokenizer pads.
  virtual Output forward(const Tensor& ids) const = 0;
  /// The longest L; 0: any (T5).
  virtual int64_t max_positions() const = 0;
  virtual const Weights& weights() const = 0;
  virtual const std::string& config_json() const = 0;
};

/// By `architectures` ("CLIPTextModel", "CLIPTextModelWithProjection", "T5EncoderModel"). `config_json` may also be a
/// CLIPModel's: then its text part, with the text projection, under "text_model." names.
std::unique_ptr<TextEncoder> make_text_encoder(const std::string& config_json, const WeightSource& source,
                                               const std::string& where);

}  // namespace rft
