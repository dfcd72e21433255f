#pragma once
/// What the autoencoders share: a network as a row of stages, and how pixels and latents are scaled and checked.
#include <functional>
#include <string>
#include <vector>

#include "rft/nn/image_codec.h"

namespace rft {

/// One step of a network. It owns its layers, so that a graph through it outlives the network.
using Stage = std::function<Tensor(const Tensor&)>;

/// All stages in turn; where `recompute`, each keeps its input alone for the backward pass.
Tensor run(const std::vector<Stage>& stages, Tensor x, bool recompute);

/// A convolution as a stage.
Stage stage(Conv2d conv);

/// An autoencoder of two rows of stages: encode() is the encoder's, then (z - shift) * scale; decode() the way back.
class StagedCodec : public ImageCodec {
 public:
  Tensor encode(const Tensor& images) const override;
  Tensor decode(const Tensor& latents) const override;
  int64_t latent_channels() const override { return latent_channels_; }
  int64_t scale_factor() const override { return factor_; }
  const Weights& weights() const override { return weights_; }
  const std::string& config_json() const override { return json_; }
  void set_gradient_checkpointing(bool on) override { checkpoint_ = on; }

 protected:
  std::string json_, where_;
  int64_t in_channels_ = 3, latent_channels_ = 4, factor_ = 1;
  double scaling_ = 1, shift_ = 0;
  std::vector<Stage> encoder_, decoder_;
  Weights weights_;

 private:
  at::ScalarType dtype() const;
  bool checkpoint_ = false;
};

}  // namespace rft
