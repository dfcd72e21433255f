#include "rft/nn/weights_lora.h"

#include <ATen/ATen.h>

#include "nn/low_rank.h"
#include "nn/peft_names.h"
#include "rft/core/error.h"

namespace rft {
namespace {

NamedTargets peft_targets(const Weights& weights) {
  NamedTargets out;
  for (const NamedLinear& layer : weights.linears)
    for (const Adapter& adapter : layer.linear->adapters)
      for_peft_tensors(adapter, [&](const std::string& name, const Tensor& value) { out.emplace_back(name, value); });
  return out;
}

}  // namespace

void add_peft_lora(Weights& weights, const LoraConfig& config, uint64_t seed) {
  if (!config.modules_to_save.empty())
    bad_input("lora.modules_to_save", "is for decoder-only models; got ", config.modules_to_save.front());
  add_adapters(weights, LoraPlan(config, paths_of(weights), {}, " (embeddings and head can't have adapters)"), seed);
}

std::map<std::string, Tensor> peft_tensors(const Weights& weights) {
  std::map<std::string, Tensor> out;
  for (const auto& [name, value] : peft_targets(weights)) out[name] = value.detach().to(at::kCPU).contiguous();
  return out;
}

void load_peft_tensors(const Weights& weights, const std::map<std::string, Tensor>& tensors, const std::string& where) {
  fill_peft_tensors(peft_targets(weights), tensors, where);
}

void merge_lora(Weights& weights) {
  for (NamedLinear& layer : weights.linears) merge_adapters(*layer.linear);
}

std::string peft_config_json(const Weights& weights, const LoraConfig& config, const std::string& base_model,
                             const std::string& task) {
  PeftModel model{task, {}};
  for (const NamedLinear& layer : weights.linears)
    if (!layer.linear->adapters.empty()) model.adapted.insert(last_part(layer.name));
  return peft_config_json(config, base_model, model);
}

}  // namespace rft
