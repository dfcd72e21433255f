#pragma once
/// The names and scales in LoRA files of image models.
#include <map>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>

#include "nn/low_rank.h"
#include "rft/nn/weights.h"

namespace rft {

/// Where a file's metadata holds PEFT's LoraConfig, a JSON object of PART.FIELD.
inline constexpr const char* kLoraMetadata = "lora_adapter_metadata";

/// Throws UserError where `part` is neither "unet" nor "transformer".
void check_lora_part(const std::string& part);

enum class LoraSide { down, up, alpha };

/// What a tensor in a file is.
struct LoraName {
  std::string path;  ///< the layer's, as the model has it where the model has it
  LoraSide side;
};

/// Understands the names in a file for one part of a pipeline.
class LoraNames {
 public:
  LoraNames(const Weights& weights, const std::string& part);
  /// Whether the tensor is for another part of the pipeline.
  bool is_foreign(const std::string& name) const;
  /// None where the name has no form that is known.
  std::optional<LoraName> read(const std::string& name) const;

 private:
  std::string part_;
  std::map<std::string, std::string> flat_;  ///< "mid_block_attn1_to_q": the path with dots
};

/// The scales that a file's metadata gives to its adapters.
class LoraScales {
 public:
  /// Throws UserError naming `where` on metadata that is malformed or asks for what is not implemented (DoRA, biases).
  LoraScales(const std::map<std::string, std::string>& metadata, const std::string& part, const std::string& where);
  /// Whether the metadata says anything of the part.
  bool given() const { return given_; }
  double scale(const std::string& path, int64_t rank) const;

 private:
  bool given_ = false, rslora_ = false;
  double alpha_ = 0;
  PatternNumbers alphas_;
};

}  // namespace rft
