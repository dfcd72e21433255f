#pragma once
/// What LoRA (Hu et al. 2021) is for every kind of model: which modules, first weights, names, filling from a file.
#include <nlohmann/json.hpp>
#include <string>
#include <utility>
#include <vector>

#include "rft/core/rng.h"
#include "rft/nn/decoder.h"

namespace rft {

/// Throws UserError where the configuration asks for what is not implemented.
void check_lora(const LoraConfig& config);

/// What B A x is multiplied by.
double lora_scale(const LoraConfig& config);

/// "to_q" of "mid_block.attn1.to_q"; a number with the part before it, "to_out.0".
std::string last_part(const std::string& path);

/// As PEFT matches: the whole path, or its last parts.
bool names_module(const std::string& target, const std::string& path);
bool names_module(const std::vector<std::string>& targets, const std::string& path);

/// Throws UserError, with the nearest name and a remark on what can be named, on a target that names none of the
/// modules.
void check_targets(const std::vector<std::string>& targets, const std::vector<std::string>& paths,
                   const std::string& remark = "");

/// An adapter for `rows` rows of a weight [out, in] from row `first`: A uniform in +-1/sqrt(in), which is nn.Linear's
/// Kaiming-uniform with a = sqrt(5), B zero; both trainable, in the weight's type.
Adapter first_adapter(const std::string& module, const Tensor& weight, int64_t first, int64_t rows, int64_t rank,
                      double scale, const Rng& rng);

/// A whole number is written as one: PEFT's lora_alpha is an int.
nlohmann::json plain_number(double value);

/// Appends to `problems` what keeps `value` from being copied into a tensor of `shape`; true where nothing does.
bool fits(const std::string& name, const Tensor& value, at::IntArrayRef shape, std::vector<std::string>& problems);

}  // namespace rft
