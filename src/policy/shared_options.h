#pragma once
/// Options that all policies with weights of their own have.
#include <string>

#include "rft/core/options.h"
#include "rft/nn/decoder.h"

namespace rft {

/// The numbers that the option `dtype` names: "float32", "bfloat16" or "float64".
at::ScalarType dtype_of(const std::string& name);

/// The block `lora`; `targets` says what target_modules may be.
void lora_options(OptionVisitor& v, bool& use, LoraConfig& config, int64_t& seed, const char* targets);

}  // namespace rft
