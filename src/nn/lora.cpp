#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

#include <nlohmann/json.hpp>
#include <set>

#include "nn/decoder_layout.h"
#include "nn/low_rank.h"
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

/// Calls each(adapter) for every adapter, in the order of the layers.
template <class DecoderType, class Each>
void for_adapters(DecoderType& decoder, Each each) {
  for (auto& layer : decoder.weights().layers)
    for (auto* linear : {&layer.qkv, &layer.out, &layer.gate_up, &layer.down})
      for (auto& adapter : linear->adapters) each(adapter);
}

/// Calls each(name, tensor) for every tensor of an adapter, by PEFT's names.
template <class Each>
void for_tensors(const Adapter& adapter, Each each) {
  const std::string start = cat("base_model.model.", adapter.module, ".lora_");
  each(start + "A.weight", adapter.a);
  each(start + "B.weight", adapter.b);
  if (adapter.magnitude.defined()) each(start + "magnitude_vector", adapter.magnitude);
}

}  // namespace

void add_lora(Decoder& decoder, const LoraConfig& config, uint64_t seed) {
  std::vector<Module> modules = linear_modules(decoder);
  std::vector<std::string> paths;
  for (const Module& module : modules) paths.push_back(module.name);
  const LoraPlan plan(config, paths, {}, " (its head can't have adapters)");
  for_adapters(decoder, [](const Adapter& adapter) { bad_input("lora", adapter.module, " has an adapter already"); });
  for (size_t i = 0; i < modules.size(); ++i) {
    const Module& module = modules[i];
    if (!plan.names(module.name)) continue;
    // The stream is the module's place in the model: it starts the same whichever others have adapters.
    module.linear->adapters.push_back(
        plan.adapter(module.name, module.linear->weight, module.first, module.rows, Rng(seed, i)));
  }
  for (auto& [name, value] : decoder.weights().named()) value.requires_grad_(false);
}

std::map<std::string, Tensor> peft_tensors(const Decoder& decoder) {
  std::map<std::string, Tensor> out;
  for_adapters(decoder, [&](const Adapter& adapter) {
    for_tensors(adapter, [&](const std::string& name, const Tensor& value) {
      out[name] = value.detach().to(at::kCPU).contiguous();
    });
  });
  return out;
}

void load_peft_tensors(Decoder& decoder, const std::map<std::string, Tensor>& tensors, const std::string& where) {
  std::vector<std::string> problems;
  std::vector<std::pair<Tensor, Tensor>> copies;  // nothing is changed where anything is wrong
  std::set<std::string> used;
  auto match = [&](const std::string& name, const Tensor& target) {
    auto found = tensors.find(name);
    used.insert(name);
    if (found == tensors.end()) {
      problems.push_back("'" + name + "' is missing");
    } else if (fits(name, found->second, target.sizes(), problems)) {
      copies.emplace_back(target, found->second);
    }
  };
  for_adapters(decoder, [&](const Adapter& adapter) { for_tensors(adapter, match); });
  for (const auto& [name, value] : tensors)
    if (!used.count(name)) problems.push_back("'" + name + "' belongs to no adapter");
  if (!problems.empty()) bad_input(where, "the tensors do not fit the adapters: ", join(problems, "; "));
  at::NoGradGuard no_grad;
  for (auto& [target, value] : copies) target.copy_(value);
}

void merge_lora(Decoder& decoder) {
  for (DecoderLayer& layer : decoder.weights().layers)
    for (Linear* linear : {&layer.qkv, &layer.out, &layer.gate_up, &layer.down}) merge_adapters(*linear);
}

}  // namespace rft
