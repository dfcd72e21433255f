#pragma once
/// LoRA on image models, in the files that diffusers' pipelines save and load (pytorch_lora_weights.safetensors).
#include <map>
#include <string>
#include <vector>

#include "rft/nn/decoder.h"
#include "rft/nn/weights.h"
#include "rft/nn/weights_lora.h"

namespace rft {

/// The file in a directory that save_lora_weights writes and load_lora_weights looks for.
inline constexpr const char* kDiffusersLoraFile = "pytorch_lora_weights.safetensors";

/// The attention layers to which diffusers' training scripts add adapters, of which a model has all or some: to_q,
/// to_k, to_v, to_out.0, and add_q_proj, add_k_proj, add_v_proj, to_add_out of joint attention.
const std::vector<std::string>& attention_lora_targets();

/// Adds adapters (A Kaiming-uniform from `seed`, B zero, as PEFT does) to the layers that `config.target_modules` name
/// as PEFT matches them, or to attention_lora_targets() where it is empty, and freezes the base. Throws UserError where
/// a target names no layer or a layer has an adapter already.
void add_lora(Weights& weights, const LoraConfig& config, uint64_t seed);

/// Every adapter's tensors (on the CPU) under the names of save_lora_weights. `part` is "unet" (NAME.lora.down.weight
/// [r, in] and NAME.lora.up.weight [out, r]) or "transformer" (NAME.lora_A.weight and NAME.lora_B.weight).
std::map<std::string, Tensor> diffusers_lora_tensors(const Weights& weights, const std::string& part);

/// The file's metadata, from which diffusers takes ranks and scales: those of the adapters as they are; `config` gives
/// what they are called (targets, rslora).
std::map<std::string, std::string> diffusers_lora_metadata(const Weights& weights, const LoraConfig& config,
                                                           const std::string& part);

/// Gives the layers that the file names adapters with its values, ranks and scales, and freezes the base. In a model
/// that has adapters already they get the values, and must be for the same layers and of the same ranks. Names may be
/// NAME.lora_A.weight, NAME.lora.down.weight, those of diffusers' first releases (processor.to_q_lora.down.weight) and
/// kohya's (lora_unet_NAME.lora_down.weight), with or without "PART."; other parts' tensors are left out. The scale is
/// the metadata's, else NAME.alpha / rank, else 1. All missing, misshapen and unknown tensors are named in one
/// UserError that starts with `where`, and then nothing is changed.
void load_diffusers_lora(Weights& weights, const std::map<std::string, Tensor>& tensors,
                         const std::map<std::string, std::string>& metadata, const std::string& part,
                         const std::string& where);

}  // namespace rft
