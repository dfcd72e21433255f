// Modules that are trained whole beside adapters: PEFT's modules_to_save.
#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <utility>

#include "nn/decoder_layout.h"
#include "rft/core/error.h"
#include "rft/core/text.h"
#include "rft/nn/decoder.h"

namespace rft {
namespace {

/// Every tensor that is no linear layer's, which adapters are for: embeddings, head, norms.
std::vector<Tensor*> replaceable(DecoderWeights& weights) {
  std::vector<Tensor*> out{&weights.token_embedding, &weights.position_embedding, &weights.final_norm.weight,
                           &weights.final_norm.bias};
  for (DecoderLayer& layer : weights.layers)
    for (Norm* norm : {&layer.attention_norm, &layer.mlp_norm, &layer.attention_post_norm, &layer.mlp_post_norm,
                       &layer.q_norm, &layer.k_norm})
      out.push_back(&norm->weight), out.push_back(&norm->bias);
  out.push_back(&weights.head), out.push_back(&weights.head_bias);
  return out;
}

/// "model.norm" of "model.norm.weight".
std::string module_of(const std::string& tensor) { return tensor.substr(0, tensor.rfind('.')); }

/// The tensors of a directory, and a tied head by the name it has where it isn't.
std::vector<TensorPlace> all_places(const DecoderConfig& config, const DecoderWeights& weights) {
  auto out = tensor_places(config, weights);
  if (config.tied_head) out.push_back({"lm_head.weight", weights.head});
  return out;
}

/// In the place of the linear layers' weights, which both share and whose storage may be away, shapes that both share.
void share_shapes(DecoderWeights& a, DecoderWeights& b) {
  auto linears = [](DecoderLayer& layer) {
    std::vector<Linear*> out{&layer.qkv, &layer.out, &layer.gate_up, &layer.down, &layer.router};
    for (ExpertLayer& expert : layer.experts) out.push_back(&expert.gate_up), out.push_back(&expert.down);
    return out;
  };
  for (size_t i = 0; i < a.layers.size(); ++i) {
    auto ours = linears(a.layers[i]), theirs = linears(b.layers[i]);
    for (size_t k = 0; k < ours.size(); ++k)
      if (ours[k]->weight.defined())
        ours[k]->weight = theirs[k]->weight =
            at::empty(ours[k]->weight.sizes(), ours[k]->weight.options().device(at::kMeta));
  }
}

}  // namespace

void Decoder::train_whole(const std::vector<std::string>& modules, const std::string& where) {
  if (base_) bad_input(where, "the model has modules that are trained whole already");
  DecoderWeights copies = weights_;
  std::vector<std::string> unused = modules;
  const auto to = replaceable(copies), from = replaceable(weights_);
  at::NoGradGuard no_grad;
  for (const TensorPlace& place : all_places(config_, weights_)) {
    const std::string module = module_of(place.name);
    auto named = [&](const std::string& name) { return module.ends_with(name); };  // as PEFT matches
    if (std::none_of(modules.begin(), modules.end(), named)) continue;
    std::erase_if(unused, named);
    bool head = place.name == "lm_head.weight" || place.name.starts_with("score.");
    bool found = false;
    for (size_t i = 0; i < from.size(); ++i) {
      bool heads = from[i] == &weights_.head || from[i] == &weights_.head_bias;
      if (!from[i]->is_same(place.place) || heads != head) continue;  // a tied head and the embedding are one tensor
      *to[i] = place.place.detach().clone().requires_grad_();
      found = true;
    }
    if (!found) bad_input(where, "'", module, "' is a linear layer of the trunk: give it an adapter (target_modules)");
  }
  // PEFT writes both of these for every classifier, whatever its head is called.
  std::erase_if(unused, [](const std::string& name) { return name == "classifier" || name == "score"; });
  if (!unused.empty())
    bad_input(where, "the model has no module '", unused[0],
              "'; embeddings, head and norms can be trained whole, here ",
              module_of(all_places(config_, weights_).front().name), ", ",
              module_of(all_places(config_, weights_).back().name), " and others");
  base_ = std::exchange(weights_, std::move(copies));
}

std::vector<std::pair<std::string, Tensor>> Decoder::whole_tensors() const {
  std::vector<std::pair<std::string, Tensor>> out;
  if (!base_) return out;
  DecoderWeights now = weights_, before = *base_;
  share_shapes(now, before);
  auto ours = all_places(config_, now), theirs = all_places(config_, before);
  for (size_t i = 0; i < ours.size(); ++i)
    if (!ours[i].place.is_alias_of(theirs[i].place)) out.emplace_back(ours[i].name, ours[i].place);
  return out;
}

void Decoder::keep_whole() {
  if (!base_) return;
  base_.reset();
  if (!config_.tied_head || weights_.head.is_same(weights_.token_embedding)) return;
  config_.tied_head = false;
  auto json = nlohmann::ordered_json::parse(config_.json);
  json["tie_word_embeddings"] = false;
  config_.json = json.dump(2) + "\n";
}

}  // namespace rft
