#include "rft/nn/image_lora.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>
#include <set>

#include "nn/image_lora_names.h"
#include "nn/low_rank.h"
#include "rft/core/error.h"

namespace rft {
namespace {

using nlohmann::json;

/// Those of attention_lora_targets() that the model has.
std::vector<std::string> default_targets(const Weights& weights) {
  std::vector<std::string> paths = paths_of(weights), out;
  for (const std::string& target : attention_lora_targets())
    if (std::any_of(paths.begin(), paths.end(), [&](const auto& path) { return names_module(target, path); }))
      out.push_back(target);
  return out;
}

std::vector<std::string> targets_of(const Weights& weights, const LoraConfig& config) {
  return config.target_modules.empty() ? default_targets(weights) : config.target_modules;
}

/// Calls each(adapter, path of its layer) for every adapter.
template <class Each>
void for_adapters(const Weights& weights, Each each) {
  for (const NamedLinear& layer : weights.linears)
    for (const Adapter& adapter : layer.linear->adapters) each(adapter, layer.name);
}

/// What `scale` was made of; without the rounding that dividing and multiplying leave.
double alpha_of(const Adapter& adapter, bool rslora) {
  auto rank = static_cast<double>(adapter.a.size(0));
  return std::round(adapter.scale * (rslora ? std::sqrt(rank) : rank) * 1e9) / 1e9;
}

/// The commonest value, and the others by their layers' full paths.
struct ValuePattern {
  double common = 0;
  json others = json::object();
};

ValuePattern pattern_of(const std::map<std::string, double>& values) {
  std::map<double, int> counts;
  for (const auto& entry : values) ++counts[entry.second];
  auto fewer = [](const auto& x, const auto& y) { return x.second < y.second; };
  ValuePattern out{std::max_element(counts.begin(), counts.end(), fewer)->first, json::object()};
  for (const auto& [path, value] : values)
    if (value != out.common) out.others["^" + path] = plain_number(value);
  return out;
}

}  // namespace

const std::vector<std::string>& attention_lora_targets() {
  static const std::vector<std::string> names{"to_q",       "to_k",       "to_v",       "to_out.0",
                                              "add_q_proj", "add_k_proj", "add_v_proj", "to_add_out"};
  return names;
}

void add_lora(Weights& weights, const LoraConfig& config, uint64_t seed) {
  if (config.dora) bad_input("lora.dora", "is for language models; diffusers' files have other names for it");
  const LoraPlan plan(config, paths_of(weights), default_targets(weights));
  if (targets_of(weights, config).empty() && config.target_regex.empty())
    bad_input("lora.target_modules",
              "must name layers of a model that has none of the attention layers that get "
              "adapters where nothing is named (to_q, to_k, to_v, to_out.0)");
  add_adapters(weights, plan, seed);
}

std::map<std::string, Tensor> diffusers_lora_tensors(const Weights& weights, const std::string& part) {
  check_lora_part(part);
  bool unet = part == "unet";
  std::map<std::string, Tensor> out;
  for_adapters(weights, [&](const Adapter& adapter, const std::string& path) {
    std::string name = part + "." + path + (unet ? ".lora." : ".lora_");
    out[name + (unet ? "down" : "A") + ".weight"] = adapter.a.detach().to(at::kCPU).contiguous();
    out[name + (unet ? "up" : "B") + ".weight"] = adapter.b.detach().to(at::kCPU).contiguous();
  });
  return out;
}

std::map<std::string, std::string> diffusers_lora_metadata(const Weights& weights, const LoraConfig& config,
                                                           const std::string& part) {
  check_lora_part(part);
  std::map<std::string, double> ranks, alphas;
  for_adapters(weights, [&](const Adapter& adapter, const std::string& path) {
    ranks[path] = static_cast<double>(adapter.a.size(0)), alphas[path] = alpha_of(adapter, config.rslora);
  });
  if (ranks.empty()) bad_input("lora", "the model has no adapters to write");
  ValuePattern rank = pattern_of(ranks), alpha = pattern_of(alphas);
  std::vector<std::string> targets = targets_of(weights, config);
  json fields{{"peft_type", "LORA"},
              {"r", plain_number(rank.common)},
              {"rank_pattern", rank.others},
              {"lora_alpha", plain_number(alpha.common)},
              {"alpha_pattern", alpha.others},
              {"use_rslora", config.rslora},
              {"use_dora", false},
              {"lora_dropout", config.dropout},
              {"lora_bias", false},
              {"bias", "none"},
              {"fan_in_fan_out", false},
              {"init_lora_weights", true},
              {"target_modules", std::set<std::string>(targets.begin(), targets.end())}};
  if (!config.target_regex.empty()) fields["target_modules"] = config.target_regex;
  json named = json::object();
  for (const auto& [name, value] : fields.items()) named[part + "." + name] = value;
  return {{"format", "pt"}, {kLoraMetadata, named.dump(2)}};
}

}  // namespace rft
