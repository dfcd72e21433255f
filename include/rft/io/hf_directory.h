#pragma once
/// Hugging Face model directories, as save_pretrained writes them.
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "rft/core/tensor.h"

namespace rft {

/// All tensors of `directory`: STEM.safetensors (or STEM.fp16.safetensors), or the shards that
/// STEM.safetensors.index.json names. transformers' stem is "model", diffusers' "diffusion_pytorch_model". Pickles
/// (.bin, .pt) are refused with how to convert them. Throws UserError.
std::map<std::string, Tensor> load_hf_tensors(const std::string& directory, const std::string& stem = "model");

/// Writes STEM.safetensors, or shards of at most `shard_bytes` with their index. Throws RunError.
void save_hf_tensors(const std::string& directory, const std::map<std::string, Tensor>& tensors,
                     int64_t shard_bytes = int64_t{5} << 30, const std::string& stem = "model");

/// generation_config.json's eos ids (a number or a list), else config.json's; empty where neither says.
std::vector<int64_t> eos_token_ids(const std::string& directory);

/// The token that generation_config.json says each answer begins with (forced_bos_token_id), or where there is no such
/// file config.json; none where it says none.
std::optional<int64_t> forced_first_id(const std::string& directory);

/// Copies tokenizer files, generation_config.json and chat template from one model directory to another, as they are.
void copy_text_files(const std::string& from, const std::string& to);

}  // namespace rft
