#include "rft/policy/image_pipeline.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

#include <filesystem>
#include <nlohmann/json.hpp>

#include "rft/core/error.h"
#include "rft/core/json_depth.h"
#include "rft/core/text.h"
#include "rft/io/files.h"
#include "rft/io/hf_directory.h"
#include "rft/nn/on_device.h"

namespace rft {
namespace fs = std::filesystem;
namespace {

using Json = nlohmann::json;

constexpr char kIndex[] = "/model_index.json";
constexpr char kDiffusers[] = "diffusion_pytorch_model";

Json read_json(const std::string& file) {
  std::string text = read_text(file, size_t{10} << 20);
  if (too_deep_at(text, 64)) bad_input(file, "the JSON nests deeper than 64");
  Json json = Json::parse(text, nullptr, false);
  if (!json.is_object()) bad_input(file, "this is not a JSON object");
  return json;
}

/// The parts that model_index.json names; those set to [null, null] are absent.
std::vector<std::string> parts_of(const Json& index) {
  std::vector<std::string> out;
  for (const auto& [name, value] : index.items())
    if (value.is_array() && value.size() == 2 && value[1].is_string()) out.push_back(name);
  return out;
}

bool has_part(const std::vector<std::string>& parts, const std::string& name) {
  return std::find(parts.begin(), parts.end(), name) != parts.end();
}

std::string config_file(const std::string& directory, const std::string& part) {
  return directory + "/" + part + (part == "scheduler" ? "/scheduler_config.json" : "/config.json");
}
std::string config_of(const std::string& directory, const std::string& part) {
  return read_text(config_file(directory, part));
}

/// The parts that are read must be there.
void require_files(const std::string& directory, const std::vector<std::string>& parts) {
  for (const std::string part :
       {"unet", "transformer", "scheduler", "vae", "controlnet", "text_encoder", "text_encoder_2", "text_encoder_3"}) {
    std::string file = config_file(directory, part);
    if (has_part(parts, part) && !file_exists(file))
      bad_input(directory, "model_index.json names the part '", part, "', but there is no ", file);
  }
}

WeightSource source_of(const std::string& directory, const std::string& part, const char* stem,
                       const at::TensorOptions& options) {
  std::string path = directory + "/" + part;
  return WeightSource(load_hf_tensors(path, stem), options, path);
}

/// StableDiffusionPipeline overrules what old scheduler files say, and FluxPipeline gives the scheduler its levels.
std::string scheduler_config(const std::string& directory, const std::string& class_name) {
  std::string text = config_of(directory, "scheduler");
  Json json = Json::parse(text, nullptr, false);
  if (!json.is_object()) return text;
  if (class_name == "FluxPipeline") {
    json["_even_levels"] = true;
    return json.dump(2);
  }
  if (class_name != "StableDiffusionPipeline" && class_name != "StableDiffusionImg2ImgPipeline") return text;
  if (json.contains("steps_offset")) json["steps_offset"] = 1;
  if (json.contains("clip_sample")) json["clip_sample"] = false;
  return json.dump(2);
}

void load_text_parts(ImagePipeline& out, const std::vector<std::string>& parts, at::ScalarType dtype) {
  for (const std::string end : {"", "_2", "_3"}) {
    std::string part = "text_encoder" + end;
    if (!has_part(parts, part)) continue;
    std::string where = out.directory + "/" + part;
    out.text_encoders.push_back(
        make_text_encoder(config_of(out.directory, part), source_of(out.directory, part, "model", dtype), where));
    if (!has_part(parts, "tokenizer" + end)) bad_input(where, "there is no tokenizer", end, " to go with it");
    out.tokenizers.push_back(Tokenizer::load(out.directory + "/tokenizer" + end));
  }
}

void refuse_unknown_parts(const std::string& directory, const std::vector<std::string>& parts) {
  static const std::vector<std::string> known = {
      "unet",           "transformer",    "scheduler",     "vae",         "controlnet",  "text_encoder",
      "text_encoder_2", "text_encoder_3", "tokenizer",     "tokenizer_2", "tokenizer_3", "feature_extractor",
      "safety_checker", "image_encoder",  "motion_adapter"};  // of a saved AnimateDiffPipeline, whose unet has it
                                                              // within
  for (const auto& part : parts)
    if (!has_part(known, part))
      bad_input(directory + kIndex, "the part '", part, "' is not known", suggestion(part, known));
}

/// The parts must agree on how many channels a sample has.
void check_channels(const ImagePipeline& pipeline) {
  int64_t channels = pipeline.denoiser->in_channels();
  const std::string& part = pipeline.denoiser_part;
  if (pipeline.codec && channels != pipeline.codec->latent_channels())
    bad_input(pipeline.directory, "the ", part, " takes ", channels, " channels, the vae gives ",
              pipeline.codec->latent_channels());
  if (!pipeline.codec && channels != 1 && channels != 3)
    bad_input(pipeline.directory, "without a vae the ", part, " must work on pixels, of 1 or 3 channels; it takes ",
              channels);
  if (!pipeline.controlnet) return;
  auto control = Json::parse(pipeline.controlnet->config_json()).value("in_channels", int64_t{4});
  if (control != channels)
    bad_input(pipeline.directory, "the ", part, " takes ", channels, " channels, the controlnet ", control);
}

void copy_part(const std::string& from, const std::string& to) {
  std::error_code error;
  fs::copy(from, to, fs::copy_options::recursive, error);
  if (error) run_failed(to, "can't be copied from ", from, ": ", error.message());
}

void save_part(const std::string& directory, const std::string& config_json, const Weights& weights) {
  make_directories(directory);
  write_text(directory + "/config.json", config_json);
  std::map<std::string, Tensor> tensors;
  for (const auto& [name, value] : weights.tensors) tensors[name] = value.detach().to(at::kCPU).contiguous();
  save_hf_tensors(directory, tensors, int64_t{10} << 30, kDiffusers);
}

}  // namespace

bool is_pipeline_directory(const std::string& directory) { return file_exists(directory + kIndex); }

ImagePipeline load_image_pipeline(const std::string& directory, at::ScalarType dtype, const at::Device& device) {
  if (!is_pipeline_directory(directory))
    bad_input(directory, "this is not a diffusers directory: there is no model_index.json");
  Json index = read_json(directory + kIndex);
  auto parts = parts_of(index);
  refuse_unknown_parts(directory, parts);
  require_files(directory, parts);
  ImagePipeline out;
  out.directory = directory;
  out.class_name = index.value("_class_name", "");
  const auto options = at::TensorOptions().dtype(dtype).device(device);
  out.denoiser_part = has_part(parts, "unet") ? "unet" : "transformer";
  for (const std::string& needed : {out.denoiser_part, std::string("scheduler")})
    if (!has_part(parts, needed)) bad_input(directory + kIndex, "the part '", needed, "' is needed and not named");
  const std::string& part = out.denoiser_part;
  out.denoiser = make_denoiser(config_of(directory, part), source_of(directory, part, kDiffusers, options),
                               directory + "/" + part);
  out.scheduler = make_scheduler(scheduler_config(directory, out.class_name), "", directory + "/scheduler");
  if (has_part(parts, "vae"))
    out.codec = make_image_codec(config_of(directory, "vae"), source_of(directory, "vae", kDiffusers, options),
                                 directory + "/vae");
  if (has_part(parts, "controlnet"))
    out.controlnet =
        make_controlnet(config_of(directory, "controlnet"), source_of(directory, "controlnet", kDiffusers, options),
                        directory + "/controlnet");
  load_text_parts(out, parts, dtype);
  if (auto zero = index.find("force_zeros_for_empty_prompt"); zero != index.end() && zero->is_boolean())
    out.zero_empty_prompt = zero->get<bool>();
  out.denoiser = on_device(std::move(out.denoiser), device);
  out.controlnet = on_device(std::move(out.controlnet), device);
  out.codec = on_device(std::move(out.codec), device);
  check_channels(out);
  return out;
}

void save_image_pipeline(const ImagePipeline& pipeline, const std::string& directory) {
  for (const std::string& part : parts_of(read_json(pipeline.directory + kIndex)))
    if (part != pipeline.denoiser_part && part != "controlnet" && directory_exists(pipeline.directory + "/" + part))
      copy_part(pipeline.directory + "/" + part, directory + "/" + part);
  write_text(directory + kIndex, read_text(pipeline.directory + kIndex));
  save_part(directory + "/" + pipeline.denoiser_part, pipeline.denoiser->config_json(), pipeline.denoiser->weights());
  if (pipeline.controlnet)
    save_part(directory + "/controlnet", pipeline.controlnet->config_json(), pipeline.controlnet->weights());
}

void load_part(const Weights& weights, const std::string& directory, const std::string& part) {
  auto tensors = load_hf_tensors(directory + "/" + part, kDiffusers);
  at::NoGradGuard no_grad;
  for (const auto& [name, value] : weights.tensors) {
    auto found = tensors.find(name);
    if (found == tensors.end() || found->second.sizes() != value.sizes())
      bad_input(directory + "/" + part, "'", name, "' must be there and be ", value.sizes());
  }
  for (const auto& [name, value] : weights.tensors) Tensor(value).copy_(tensors.at(name));
}

}  // namespace rft
