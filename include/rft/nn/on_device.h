#pragma once
/// Networks on a GPU between tensors that stay where they are: inputs go there, outputs come back, gradients too.
#include <memory>

#include "rft/nn/controlnet.h"
#include "rft/nn/denoiser.h"
#include "rft/nn/image_codec.h"

namespace rft {

/// Wraps a network whose weights are on `device`; on the CPU it is returned as it is. What a sampler does beside
/// the network (steps, their noise and log-probabilities) is little and stays on the CPU, bit for bit what it is there.
std::unique_ptr<Denoiser> on_device(std::unique_ptr<Denoiser> network, const at::Device& device);
std::unique_ptr<ControlNet> on_device(std::unique_ptr<ControlNet> network, const at::Device& device);
std::unique_ptr<ImageCodec> on_device(std::unique_ptr<ImageCodec> network, const at::Device& device);

}  // namespace rft
