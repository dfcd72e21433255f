#pragma once
/// What predicts the noise, the velocity or the clean sample: the models of diffusers' `unet` and `transformer` parts.
#include <memory>
#include <string>
#include <vector>

#include "rft/nn/weights.h"

namespace rft {

/// What a denoiser is told beside the noisy sample. N rows; undefined where the model doesn't take it.
struct Conditioning {
  Tensor class_labels;  ///< [N] int64 (the null class of a DiT is num_classes)
  Tensor text;          ///< [N, L, D] encoder_hidden_states
  Tensor pooled;        ///< [N, P] pooled text (SDXL's text_embeds, SD3's and Flux's pooled_projections)
  Tensor time_ids;      ///< [N, 6] float: SDXL's original size, crop and target size
  Tensor guidance;      ///< [N] float: the scale of a guidance-distilled Flux
  Tensor control;       ///< [N, 3, H, W] in [0, 1]: a ControlNet's image
};

/// What a ControlNet adds to a U-Net's skip connections and middle.
struct ControlResiduals {
  std::vector<Tensor> down;
  Tensor mid;
};

/// A loaded part of a diffusers directory. Not thread-safe while weights change; forward() itself keeps no state.
class Denoiser {
 public:
  virtual ~Denoiser() = default;
  /// sample [N, C, h, w], timestep [N] float in the scheduler's units (0..num_train_timesteps) -> [N, C', h, w], with
  /// gradients where grad mode is on. `control` may be nullptr.
  virtual Tensor forward(const Tensor& sample, const Tensor& timestep, const Conditioning& conditioning,
                         const ControlResiduals* control = nullptr) const = 0;

  virtual const Weights& weights() const = 0;
  /// config.json as read (or made), written back unchanged.
  virtual const std::string& config_json() const = 0;
  /// C; C' is the same, or twice that where the variance is learned too.
  virtual int64_t in_channels() const = 0;
  virtual int64_t out_channels() const = 0;
  /// h = w the model was trained at.
  virtual int64_t sample_size() const = 0;
  /// Number of classes it takes labels of; 0 = none.
  virtual int64_t num_classes() const { return 0; }
  /// Whether it is told a guidance scale (Conditioning::guidance) instead of being run twice.
  virtual bool takes_guidance() const { return false; }
  /// Keep only each block's input and compute it again in the backward pass.
  virtual void set_gradient_checkpointing(bool on) = 0;
  /// Samples are film strips from now on: `frames` of a video, from above to below, h = frames * a frame's height. 1:
  /// pictures. Throws UserError where the model makes pictures alone.
  virtual void set_frames(int64_t frames);
};

/// Film strips [N, C, frames * h, w] -> their frames [N * frames, C, h, w], and back.
Tensor film_frames(const Tensor& strips, int64_t frames);
Tensor film_strips(const Tensor& frames_of_all, int64_t frames);

/// By `_class_name` of `config_json` (UNet2DModel, UNet2DConditionModel, UNetMotionModel, SD3Transformer2DModel,
/// FluxTransformer2DModel, DiTTransformer2DModel). Throws UserError naming `where` for another class, and for every
/// field whose value would change the computation in a way that is not implemented.
std::unique_ptr<Denoiser> make_denoiser(const std::string& config_json, const WeightSource& source,
                                        const std::string& where);

}  // namespace rft
