#pragma once
/// Adapter directories that a model's directory holds, as PEFT keeps further adapters in directories of their own
/// names.
#include <string>
#include <vector>

namespace rft {

/// The files of a PEFT adapter directory.
inline constexpr char kAdapterConfig[] = "/adapter_config.json", kAdapterTensors[] = "/adapter_model.safetensors";

/// Adapters that stand frozen beside those of a directory are within it under this name.
inline constexpr char kFrozenAdapters[] = "frozen";

/// A reward model's directory that is a mixture of experts (DMoERM) holds their adapters under this name, and its
/// perceptron.
inline constexpr char kExpert[] = "expert", kExpertMixture[] = "/expert_mixture.safetensors";

/// DIRECTORY/NAME-0, NAME-1, ..., as many as there are.
std::vector<std::string> adapters_within(const std::string& directory, const std::string& name);
/// Copies these adapter directories' files into `directory`, for adapters_within() to find.
void copy_adapters_into(const std::string& directory, const std::string& name,
                        const std::vector<std::string>& adapters);

}  // namespace rft
