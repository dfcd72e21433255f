// The image quick start's untrained models.
#include <ATen/ATen.h>

#include "app/digits.h"
#include "rft/core/error.h"
#include "rft/core/rng.h"
#include "rft/io/files.h"
#include "rft/io/hf_directory.h"
#include "rft/nn/controlnet.h"
#include "rft/nn/denoiser.h"
#include "rft/nn/vision_encoder.h"

namespace rft::app {
namespace {

std::string unet_config(int64_t width) {
  return cat(R"({
  "_class_name": "UNet2DModel",
  "act_fn": "silu",
  "attention_head_dim": 16,
  "block_out_channels": [)",
             width, ", ", 2 * width, R"(],
  "center_input_sample": false,
  "down_block_types": ["DownBlock2D", "AttnDownBlock2D"],
  "flip_sin_to_cos": true,
  "freq_shift": 0,
  "in_channels": 1,
  "layers_per_block": 1,
  "norm_eps": 1e-05,
  "norm_num_groups": 8,
  "num_class_embeds": 11,
  "out_channels": 1,
  "sample_size": 8,
  "time_embedding_type": "positional",
  "up_block_types": ["AttnUpBlock2D", "UpBlock2D"]
}
)");
}

/// A U-Net without classes or texts: what it is told comes from a ControlNet. It predicts velocities, whose clean
/// estimates are good at all noise levels.
std::string controlled_config(int64_t width) {
  return cat(R"({
  "_class_name": "UNet2DConditionModel",
  "act_fn": "silu",
  "block_out_channels": [)",
             width, ", ", 2 * width, R"(],
  "center_input_sample": false,
  "cross_attention_dim": 8,
  "down_block_types": ["DownBlock2D", "DownBlock2D"],
  "flip_sin_to_cos": true,
  "freq_shift": 0,
  "in_channels": 1,
  "layers_per_block": 1,
  "mid_block_type": "UNetMidBlock2D",
  "norm_eps": 1e-05,
  "norm_num_groups": 8,
  "out_channels": 1,
  "sample_size": 8,
  "up_block_types": ["UpBlock2D", "UpBlock2D"]
}
)");
}

std::string ddim_config(const std::string& prediction) {
  return cat(R"({
  "_class_name": "DDIMScheduler",
  "beta_schedule": "squaredcos_cap_v2",
  "clip_sample": true,
  "clip_sample_range": 1.0,
  "num_train_timesteps": 1000,
  "prediction_type": ")",
             prediction, R"(",
  "set_alpha_to_one": true,
  "steps_offset": 0,
  "timestep_spacing": "trailing"
}
)");
}

constexpr char kFlow[] = R"({
  "_class_name": "FlowMatchEulerDiscreteScheduler",
  "num_train_timesteps": 1000,
  "shift": 1.0
}
)";

std::map<std::string, Tensor> named(const Weights& weights) { return {weights.tensors.begin(), weights.tensors.end()}; }

void write_part(const std::string& directory, const std::string& config, const std::map<std::string, Tensor>& tensors) {
  make_directories(directory);
  write_text(directory + "/config.json", config);
  save_hf_tensors(directory, tensors, int64_t{5} << 30, "diffusion_pytorch_model");
}

/// A diffusers directory with a U-Net, and a ControlNet of its kind where it is to have one.
void write_model(const DigitsArguments& arguments, const std::string& name, const std::string& config, bool control) {
  std::string directory = arguments.out + "/" + name;
  make_directories(directory + "/scheduler");
  auto seed = static_cast<uint64_t>(arguments.seed);
  auto unet = make_denoiser(config, WeightSource::random(at::kFloat, seed), directory);
  write_part(directory + "/unet", config, named(unet->weights()));
  write_text(directory + "/scheduler/scheduler_config.json",
             arguments.flow ? kFlow : ddim_config(control ? "v_prediction" : arguments.prediction));
  std::string scheduler = arguments.flow ? "FlowMatchEulerDiscreteScheduler" : "DDIMScheduler", controlnet;
  if (control) {
    auto [json, tensors] = controlnet_from_unet(*unet, 1, {16}, mix(seed, 2));
    write_part(directory + "/controlnet", json, tensors);
    controlnet = "  \"controlnet\": [\"diffusers\", \"ControlNetModel\"],\n";
  }
  write_text(
      directory + "/model_index.json",
      cat("{\n  \"_class_name\": \"DDIMPipeline\",\n", controlnet, "  \"scheduler\": [\"diffusers\", \"", scheduler,
          "\"],\n  \"unet\": [\"diffusers\", \"", control ? "UNet2DConditionModel" : "UNet2DModel", "\"]\n}\n"));
}

std::string classifier_config() {
  std::string names, ids;
  for (int i = 0; i < 10; ++i) {
    names += cat(i ? ", " : "", "\"", i, "\": \"", i, "\"");
    ids += cat(i ? ", " : "", "\"", i, "\": ", i);
  }
  return cat(R"({
  "architectures": ["ViTForImageClassification"],
  "attention_probs_dropout_prob": 0.0,
  "hidden_act": "gelu",
  "hidden_dropout_prob": 0.0,
  "hidden_size": 48,
  "id2label": {)",
             names, R"(},
  "image_size": 8,
  "initializer_range": 0.02,
  "intermediate_size": 96,
  "label2id": {)",
             ids, R"(},
  "layer_norm_eps": 1e-12,
  "model_type": "vit",
  "num_attention_heads": 4,
  "num_channels": 1,
  "num_hidden_layers": 3,
  "patch_size": 2,
  "qkv_bias": true
}
)");
}

void write_classifier(const DigitsArguments& arguments) {
  std::string directory = arguments.out + "/classifier", config = classifier_config();
  make_directories(directory);
  constexpr char kPreprocessor[] = "{\n  \"image_mean\": [0.5],\n  \"image_std\": [0.5]\n}\n";
  auto source = WeightSource::random(at::kFloat, mix(static_cast<uint64_t>(arguments.seed), 1));
  auto model = make_vision_encoder(config, kPreprocessor, source, directory);
  write_text(directory + "/config.json", config);
  write_text(directory + "/preprocessor_config.json", kPreprocessor);
  save_hf_tensors(directory, named(model->weights()));
}

}  // namespace

void write_digit_models(const DigitsArguments& arguments) {
  write_model(arguments, "model", unet_config(arguments.width), false);
  if (!arguments.flow) write_model(arguments, "controlled", controlled_config(arguments.width), true);
  write_classifier(arguments);
}

}  // namespace rft::app
