#pragma once
/// ControlNetModel of a diffusers directory (Zhang et al. 2023, arXiv:2302.05543).
#include <memory>
#include <string>

#include "rft/nn/denoiser.h"

namespace rft {

class ControlNet {
 public:
  virtual ~ControlNet() = default;
  /// As Denoiser::forward, with conditioning.control [N, C, H, W], H and W the sample's times the embedding's factor.
  /// Residuals are multiplied by `scale`.
  virtual ControlResiduals forward(const Tensor& sample, const Tensor& timestep, const Conditioning& conditioning,
                                   double scale = 1) const = 0;
  virtual const Weights& weights() const = 0;
  virtual const std::string& config_json() const = 0;
  virtual void set_gradient_checkpointing(bool on) = 0;
};

std::unique_ptr<ControlNet> make_controlnet(const std::string& config_json, const WeightSource& source,
                                            const std::string& where);
/// The tensors of a ControlNet that starts as `unet` (a UNet2DConditionModel), its zero convolutions 0: config.json and
/// tensors as ControlNetModel.from_unet gives them. `channels` are the control image's,
/// and `embedding` the widths of the layers that read it, each after the first halving its size.
std::pair<std::string, std::map<std::string, Tensor>> controlnet_from_unet(const Denoiser& unet, int64_t channels,
                                                                           const std::vector<int64_t>& embedding,
                                                                           uint64_t seed);

}  // namespace rft
