#pragma once
/// Between pixels and latents: AutoencoderKL and AutoencoderTiny of a diffusers directory's `vae` part.
#include <memory>
#include <string>

#include "rft/nn/weights.h"

namespace rft {

class ImageCodec {
 public:
  virtual ~ImageCodec() = default;
  /// images [N, 3, H, W] in [-1, 1] -> latents [N, C, H/f, W/f], scaled as the denoiser sees them (the mode of the
  /// posterior: (z - shift_factor) * scaling_factor).
  virtual Tensor encode(const Tensor& images) const = 0;
  /// The way back; differentiable, in about [-1, 1], not clamped.
  virtual Tensor decode(const Tensor& latents) const = 0;
  virtual int64_t latent_channels() const = 0;
  virtual int64_t scale_factor() const = 0;  ///< f
  virtual const Weights& weights() const = 0;
  virtual const std::string& config_json() const = 0;
  /// Keep only each block's input in decode() and compute it again in the backward pass.
  virtual void set_gradient_checkpointing(bool on) = 0;
};

/// By `_class_name`: AutoencoderKL, AutoencoderTiny. Throws UserError naming `where`, as make_denoiser() does.
std::unique_ptr<ImageCodec> make_image_codec(const std::string& config_json, const WeightSource& source,
                                             const std::string& where);

}  // namespace rft
