#include "nn/image_lora_names.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <utility>
#include <vector>

#include "nn/low_rank.h"
#include "rft/core/error.h"
#include "rft/core/text.h"

namespace rft {
namespace {

const std::vector<std::string> kWritten{"unet", "transformer"};
/// First parts of the names of all that a pipeline may hold, in diffusers' files and in kohya's.
const std::vector<std::string> kParts{"unet.",           "transformer.",    "transformer_2.", "text_encoder.",
                                      "text_encoder_2.", "text_encoder_3.", "lora_unet_",     "lora_transformer_",
                                      "lora_te_",        "lora_te1_",       "lora_te2_",      "lora_te3_"};

/// Ends of names: what comes after the layer's path, what it is replaced by, and what the tensor is.
struct Ending {
  const char* written;
  const char* path;
  LoraSide side;
};
const std::vector<Ending> kEndings{
    {".to_q_lora.down.weight", ".to_q", LoraSide::down},
    {".to_q_lora.up.weight", ".to_q", LoraSide::up},
    {".to_k_lora.down.weight", ".to_k", LoraSide::down},
    {".to_k_lora.up.weight", ".to_k", LoraSide::up},
    {".to_v_lora.down.weight", ".to_v", LoraSide::down},
    {".to_v_lora.up.weight", ".to_v", LoraSide::up},
    {".to_out_lora.down.weight", ".to_out.0", LoraSide::down},
    {".to_out_lora.up.weight", ".to_out.0", LoraSide::up},
    {".lora_A.weight", "", LoraSide::down},
    {".lora_B.weight", "", LoraSide::up},
    {".lora.down.weight", "", LoraSide::down},
    {".lora.up.weight", "", LoraSide::up},
    {".lora_down.weight", "", LoraSide::down},
    {".lora_up.weight", "", LoraSide::up},
    {".alpha", "", LoraSide::alpha},
};

std::string replaced(std::string text, const std::string& from, const std::string& to) {
  for (size_t at = text.find(from); at != std::string::npos; at = text.find(from, at + to.size()))
    text.replace(at, from.size(), to);
  return text;
}

}  // namespace

void check_lora_part(const std::string& part) {
  if (std::find(kWritten.begin(), kWritten.end(), part) == kWritten.end())
    bad_input("lora", "the part of a pipeline must be 'unet' or 'transformer'; got '", part, "'",
              suggestion(part, kWritten));
}

LoraNames::LoraNames(const Weights& weights, const std::string& part) : part_(part) {
  for (const NamedLinear& layer : weights.linears) flat_[replaced(layer.name, ".", "_")] = layer.name;
}

bool LoraNames::is_foreign(const std::string& name) const {
  if (name.starts_with(part_ + ".") || name.starts_with("lora_" + part_ + "_")) return false;
  return std::any_of(kParts.begin(), kParts.end(), [&](const auto& start) { return name.starts_with(start); });
}

std::optional<LoraName> LoraNames::read(const std::string& name) const {
  for (const auto& [written, path, side] : kEndings) {
    if (!name.ends_with(written)) continue;
    std::string module = name.substr(0, name.size() - std::string(written).size());
    std::string kohya = "lora_" + part_ + "_";
    if (module.starts_with(kohya)) {
      auto found = flat_.find(module.substr(kohya.size()));
      return LoraName{found == flat_.end() ? module : found->second, side};
    }
    if (module.starts_with(part_ + ".")) module = module.substr(part_.size() + 1);
    module += path;
    return LoraName{replaced(std::move(module), ".processor.", "."), side};
  }
  return std::nullopt;
}

LoraScales::LoraScales(const std::map<std::string, std::string>& metadata, const std::string& part,
                       const std::string& where) {
  auto text = metadata.find(kLoraMetadata);
  if (text == metadata.end()) return;
  auto fields = nlohmann::ordered_json::parse(text->second, nullptr, false);  // the first pattern that matches counts
  if (!fields.is_object()) bad_input(where, "the metadata's ", kLoraMetadata, " must be a JSON object");
  // A model's own save_lora_adapter writes the fields without the part.
  std::string prefix = fields.contains(part + ".lora_alpha") ? part + "." : "";
  if (!fields.contains(prefix + "lora_alpha")) return;
  try {
    for (const char* name : {"use_dora", "lora_bias", "use_qalora"})
      if (fields.value(prefix + name, nlohmann::ordered_json(false)) == true)
        bad_input(where, "'", name, "' of the metadata's ", kLoraMetadata, " is not implemented");
    alpha_ = fields.at(prefix + "lora_alpha").get<double>();
    rslora_ = fields.value(prefix + "use_rslora", false);
    alphas_ = PatternNumbers(pattern_numbers(fields, prefix + "alpha_pattern"), where);
  } catch (const nlohmann::json::exception& error) {
    bad_input(where, "the metadata's ", kLoraMetadata, ": ", error.what());
  }
  given_ = true;
}

double LoraScales::scale(const std::string& path, int64_t rank) const {
  return lora_scale(alphas_.of(path, alpha_), rank, rslora_);
}

}  // namespace rft
