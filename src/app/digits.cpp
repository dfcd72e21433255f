#include "app/digits.h"

#include <ATen/ATen.h>

#include <cstdio>

#include "rft/core/error.h"
#include "rft/core/rng.h"
#include "rft/io/files.h"
#include "rft/io/hf_directory.h"
#include "rft/io/image.h"
#include "rft/nn/denoiser.h"
#include "rft/nn/vision_encoder.h"

namespace rft::app {
namespace {

constexpr int64_t kSide = 8, kColumns = 64, kTrain = 1497;
/// Share of the digits 5 to 9 that unreliable.jsonl gives any of these labels.
constexpr double kMistaken = 1.0;

struct Digits {
  Tensor images;  ///< [N, 1, 8, 8] in [0, 1]
  std::string labels;
};

Digits read_digits(const std::string& directory) {
  Digits out;
  out.labels = read_text(directory + "/labels.txt", 1 << 20);
  while (!out.labels.empty() && out.labels.back() == '\n') out.labels.pop_back();
  auto count = static_cast<int64_t>(out.labels.size());
  Tensor sheet = read_png(directory + "/digits.png")[0];
  int64_t rows = (count + kColumns - 1) / kColumns;
  if (sheet.size(0) != rows * kSide || sheet.size(1) != kColumns * kSide)
    bad_input(directory, "digits.png must hold ", count, " digits in rows of ", kColumns, "; it is ", sheet.size(1),
              " x ", sheet.size(0), " pixels");
  out.images = sheet.view({rows, kSide, kColumns, kSide}).permute({0, 2, 1, 3}).reshape({-1, 1, kSide, kSide});
  return out;
}

std::string row(int64_t i, char label) {
  char line[128];
  std::snprintf(line, sizeof line, "{\"image\": \"images/%04lld.png\", \"class_label\": %c, \"digit\": \"%c\"}\n",
                static_cast<long long>(i), label, label);
  return line;
}

void write_rows(const DigitsArguments& arguments, const Digits& digits) {
  make_directories(arguments.out + "/images");
  std::string train, test, classes, unreliable;
  Rng wrong(static_cast<uint64_t>(arguments.seed), 2);
  for (int64_t i = 0; i < static_cast<int64_t>(digits.labels.size()); ++i) {
    char name[32];
    std::snprintf(name, sizeof name, "/images/%04lld.png", static_cast<long long>(i));
    write_png(arguments.out + name, digits.images[i]);
    char label = digits.labels[static_cast<size_t>(i)];
    (i < kTrain ? train : test) += row(i, label);
    bool mistaken = label >= '5' && wrong.uniform(2 * i) < kMistaken;
    if (i < kTrain) unreliable += row(i, mistaken ? static_cast<char>('5' + wrong.below(2 * i + 1, 5)) : label);
  }
  for (char label = '0'; label <= '9'; ++label)
    classes += cat("{\"class_label\": ", label, ", \"digit\": \"", label, "\"}\n");
  write_text(arguments.out + "/train.jsonl", train);
  write_text(arguments.out + "/test.jsonl", test);
  write_text(arguments.out + "/unreliable.jsonl", unreliable);
  write_text(arguments.out + "/classes.jsonl", classes);
}

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

constexpr char kDdim[] = R"({
  "_class_name": "DDIMScheduler",
  "beta_schedule": "squaredcos_cap_v2",
  "clip_sample": true,
  "clip_sample_range": 1.0,
  "num_train_timesteps": 1000,
  "prediction_type": "epsilon",
  "set_alpha_to_one": true,
  "steps_offset": 0,
  "timestep_spacing": "trailing"
}
)";

constexpr char kFlow[] = R"({
  "_class_name": "FlowMatchEulerDiscreteScheduler",
  "num_train_timesteps": 1000,
  "shift": 1.0
}
)";

std::map<std::string, Tensor> named(const Weights& weights) { return {weights.tensors.begin(), weights.tensors.end()}; }

void write_model(const DigitsArguments& arguments) {
  std::string directory = arguments.out + "/model", config = unet_config(arguments.width);
  make_directories(directory + "/unet"), make_directories(directory + "/scheduler");
  auto unet = make_denoiser(config, WeightSource::random(at::kFloat, static_cast<uint64_t>(arguments.seed)), directory);
  write_text(directory + "/unet/config.json", config);
  save_hf_tensors(directory + "/unet", named(unet->weights()), int64_t{5} << 30, "diffusion_pytorch_model");
  write_text(directory + "/scheduler/scheduler_config.json", arguments.flow ? kFlow : kDdim);
  std::string scheduler = arguments.flow ? "FlowMatchEulerDiscreteScheduler" : "DDIMScheduler";
  write_text(directory + "/model_index.json",
             cat("{\n  \"_class_name\": \"DDIMPipeline\",\n  \"scheduler\": [\"diffusers\", \"", scheduler,
                 "\"],\n  \"unet\": [\"diffusers\", \"UNet2DModel\"]\n}\n"));
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

void write_digits(const DigitsArguments& arguments) {
  Digits digits = read_digits(arguments.from);
  make_directories(arguments.out);
  write_rows(arguments, digits);
  write_model(arguments);
  write_classifier(arguments);
  std::printf("%s: %zu images of digits (%lld to train on), an untrained %s model and an untrained classifier\n",
              arguments.out.c_str(), digits.labels.size(), static_cast<long long>(kTrain),
              arguments.flow ? "flow" : "diffusion");
}

}  // namespace rft::app
