#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

#include <nlohmann/json.hpp>
#include <set>

#include "nn/decoder_layout.h"
#include "nn/low_rank.h"
#include "nn/peft_names.h"
#include "rft/core/error.h"
#include "rft/core/text.h"
#include "rft/nn/decoder.h"

namespace rft {
namespace {

/// A linear layer as Hugging Face's model has it: some rows of one of our fused ones.
struct Module {
  std::string name;  ///< "model.layers.0.self_attn.q_proj"
  Linear* linear;
  int64_t first, rows;
};

/// Every linear layer but the head and experts (which are no layers of their own to PEFT either), in the order of the
/// directory's tensors; of one Linear in the order of its rows.
std::vector<Module> linear_modules(Decoder& decoder) {
  std::vector<Module> out;
  const std::string end = ".weight";
  for (const auto& [name, place, transposed] : tensor_places(decoder.config(), decoder.weights())) {
    if (place.dim() != 2 || !name.ends_with(end)) continue;
    for (DecoderLayer& layer : decoder.weights().layers)
      for (Linear* linear : {&layer.qkv, &layer.out, &layer.gate_up, &layer.down}) {
        if (!linear->weight.defined() || !place.is_alias_of(linear->weight)) continue;
        int64_t first = (place.storage_offset() - linear->weight.storage_offset()) / place.size(1);
        out.push_back({name.substr(0, name.size() - end.size()), linear, first, place.size(0)});
      }
  }
  return out;
}

/// Calls each(adapter) for every one of the model's own adapters, in the order of the layers.
template <class DecoderType, class Each>
void for_adapters(DecoderType& decoder, Each each) {
  for (auto& layer : decoder.weights().layers)
    for (auto* linear : {&layer.qkv, &layer.out, &layer.gate_up, &layer.down})
      for (auto& adapter : linear->adapters)
        if (adapter.set == 0) each(adapter);
}

/// All that PEFT's file holds.
NamedTargets peft_targets(const Decoder& decoder) {
  NamedTargets out;
  auto add = [&](const std::string& name, const Tensor& value) { out.emplace_back(name, value); };
  for_adapters(decoder, [&](const Adapter& adapter) { for_peft_tensors(adapter, add); });
  for (const auto& [name, value] : decoder.whole_tensors()) add(kPeftRoot + name, value);
  return out;
}

}  // namespace

void add_lora(Decoder& decoder, const LoraConfig& config, uint64_t seed) {
  std::vector<Module> modules = linear_modules(decoder);
  std::vector<std::string> paths;
  for (const Module& module : modules) paths.push_back(module.name);
  for_adapters(decoder, [](const Adapter& adapter) { bad_input("lora", adapter.module, " has an adapter already"); });
  const LoraPlan plan(config, paths, {}, " (its head can't have adapters)");
  const auto options = decoder.weights().token_embedding.options().requires_grad(false);  // a layer may hold codes
  for (size_t i = 0; i < modules.size(); ++i) {
    const Module& module = modules[i];
    if (!plan.names(module.name)) continue;
    // The stream is the module's place in the model: it starts the same whichever others have adapters.
    module.linear->adapters.push_back(
        plan.adapter(module.name, *module.linear, module.first, module.rows, options, Rng(seed, i)));
  }
  for (auto& [name, value] : decoder.weights().named()) value.requires_grad_(false);
  if (!config.modules_to_save.empty()) decoder.train_whole(config.modules_to_save, "lora.modules_to_save");
}

std::map<std::string, Tensor> peft_tensors(const Decoder& decoder) {
  std::map<std::string, Tensor> out;
  for (const auto& [name, value] : peft_targets(decoder)) out[name] = value.detach().to(at::kCPU).contiguous();
  return out;
}

void load_peft_tensors(Decoder& decoder, const std::map<std::string, Tensor>& tensors, const std::string& where) {
  fill_peft_tensors(peft_targets(decoder), tensors, where);
}

void merge_lora(Decoder& decoder) {
  for (DecoderLayer& layer : decoder.weights().layers)
    for (Linear* linear : {&layer.qkv, &layer.out, &layer.gate_up, &layer.down}) merge_adapters(*linear);
  decoder.keep_whole();
}

}  // namespace rft
