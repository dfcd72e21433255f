#include "nn/autoencoder_stages.h"

#include <ATen/ATen.h>
#include <c10/core/GradMode.h>

#include "rft/core/error.h"
#include "rft/nn/recompute.h"

namespace rft {

Tensor run(const std::vector<Stage>& stages, Tensor x, bool recompute) {
  for (const Stage& stage : stages) x = recompute ? recompute_in_backward(stage, x) : stage(x);
  return x;
}

Stage stage(Conv2d conv) {
  return [conv = std::move(conv)](const Tensor& x) { return apply(conv, x); };
}

at::ScalarType StagedCodec::dtype() const { return weights_.tensors.front().second.scalar_type(); }

Tensor StagedCodec::encode(const Tensor& images) const {
  if (images.dim() != 4 || images.size(1) != in_channels_ || images.size(2) % factor_ || images.size(3) % factor_)
    bad_input(where_, "images must be [N, ", in_channels_, ", H, W], H and W multiples of ", factor_, "; got ",
              images.sizes());
  return run(encoder_, images.to(dtype()), false).sub(shift_).mul(scaling_);
}

Tensor StagedCodec::decode(const Tensor& latents) const {
  if (latents.dim() != 4 || latents.size(1) != latent_channels_)
    bad_input(where_, "latents must be [N, ", latent_channels_, ", h, w]; got ", latents.sizes());
  return run(decoder_, latents.to(dtype()).div(scaling_).add(shift_), checkpoint_ && c10::GradMode::is_enabled());
}

}  // namespace rft
