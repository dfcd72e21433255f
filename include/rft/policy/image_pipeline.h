#pragma once
/// A diffusers directory: model_index.json and its parts.
#include <memory>
#include <string>
#include <vector>

#include "rft/diffusion/scheduler.h"
#include "rft/nn/controlnet.h"
#include "rft/nn/denoiser.h"
#include "rft/nn/image_codec.h"
#include "rft/nn/text_encoder.h"
#include "rft/text/tokenizer.h"

namespace rft {

struct ImagePipeline {
  std::string directory;      ///< where it was loaded from
  std::string class_name;     ///< model_index.json's _class_name: "StableDiffusionPipeline", "DDPMPipeline", ...
  std::string denoiser_part;  ///< "unet" or "transformer"
  std::unique_ptr<Denoiser> denoiser;
  std::unique_ptr<Scheduler> scheduler;
  std::unique_ptr<ImageCodec> codec;       ///< nullptr: the denoiser works on pixels in [-1, 1]
  std::unique_ptr<ControlNet> controlnet;  ///< nullptr where there is none
  std::vector<std::unique_ptr<TextEncoder>> text_encoders;
  std::vector<Tokenizer> tokenizers;  ///< one a text encoder
  bool zero_empty_prompt = false;     ///< SDXL: an absent negative prompt is zeros, not the encoded ""

  /// Pixels a latent.
  int64_t factor() const { return codec ? codec->scale_factor() : 1; }
};

/// The denoiser, ControlNet and codec compute on `device`, the text encoders (a prompt is encoded once) on the CPU.
/// Throws UserError naming the part that is missing or not supported.
ImagePipeline load_image_pipeline(const std::string& directory, at::ScalarType dtype,
                                  const at::Device& device = at::kCPU);

/// Whether `directory` has a model_index.json.
bool is_pipeline_directory(const std::string& directory);

/// A diffusers directory into `directory`: the parts of the one it was loaded from, with this denoiser and ControlNet.
/// Throws RunError.
void save_image_pipeline(const ImagePipeline& pipeline, const std::string& directory);

/// Sets a part's tensors to those that are in `directory`/PART, bit for bit. Throws UserError where they don't fit.
void load_part(const Weights& weights, const std::string& directory, const std::string& part);

}  // namespace rft
