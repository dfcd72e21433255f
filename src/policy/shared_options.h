#pragma once
/// Options that all policies with weights of their own have.
#include <optional>
#include <string>
#include <vector>

#include "rft/core/options.h"
#include "rft/core/parameter.h"
#include "rft/nn/decoder.h"

namespace rft {

/// The numbers that the option `dtype` names: "float32", "bfloat16" or "float64".
at::ScalarType dtype_of(const std::string& name);

/// What becomes of long rows of text.
void length_options(OptionVisitor& v, std::optional<int64_t>& max_length, std::string& too_long);

/// A linear layer's own adapters.
void add_parameters(std::vector<Parameter>& out, const Linear& linear);

/// The block `lora`; `targets` says what target_modules may be.
void lora_options(OptionVisitor& v, bool& use, LoraConfig& config, int64_t& seed, const char* targets);

}  // namespace rft
