#pragma once
/// Hugging Face model directories, as save_pretrained writes them.
#include <map>
#include <string>
#include <vector>

#include "rft/core/tensor.h"

namespace rft {

/// All tensors of `directory`: model.safetensors, or the shards that model.safetensors.index.json names. Pickles
/// (.bin, .pt) are refused with how to convert them. Throws UserError.
std::map<std::string, Tensor> load_hf_tensors(const std::string& directory);

/// Writes model.safetensors, or shards of at most `shard_bytes` with their index. Throws RunError.
void save_hf_tensors(const std::string& directory, const std::map<std::string, Tensor>& tensors,
                     int64_t shard_bytes = int64_t{5} << 30);

/// generation_config.json's eos ids (a number or a list), else config.json's; empty where neither says.
std::vector<int64_t> eos_token_ids(const std::string& directory);

/// Copies tokenizer files, generation_config.json and chat template from one model directory to another, as they are.
void copy_text_files(const std::string& from, const std::string& to);

}  // namespace rft
