#include "rft/nn/decoder.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

#include <cmath>
#include <nlohmann/json.hpp>
#include <numbers>
#include <set>

#include "core/give_back_memory.h"
#include "nn/decoder_layout.h"
#include "nn/quantize_linears.h"
#include "rft/core/error.h"
#include "rft/core/rng.h"
#include "rft/core/text.h"

namespace rft {
namespace {

/// Derived tensors that old checkpoints hold: rotary tables and causal masks.
bool is_derived(const std::string& name) {
  return name.ends_with("rotary_emb.inv_freq") || name.ends_with(".attn.bias") || name.ends_with(".attn.masked_bias");
}

/// The tensor as it is named with or without the "transformer." or "model." in front.
const Tensor* find_tensor(const std::map<std::string, Tensor>& tensors, const std::string& name,
                          std::set<std::string>& used) {
  for (const std::string& candidate : {name, name.substr(name.find('.') + 1)}) {
    auto found = tensors.find(candidate);
    if (found == tensors.end()) continue;
    used.insert(candidate);
    return &found->second;
  }
  return nullptr;
}

/// transformers 5 keeps a layer's experts together in memory, and some directories are written so:
/// "experts.gate_up_proj" [E, 2 W, D] and "experts.down_proj" [E, D, W] under "mlp.". Here each has its own tensors, as
/// save_pretrained writes them.
std::map<std::string, Tensor> with_separate_experts(const DecoderConfig& config,
                                                    std::map<std::string, Tensor> tensors) {
  if (!config.experts.count) return tensors;
  bool mixtral = config.model_type == "mixtral";
  std::map<std::string, Tensor> out;
  for (auto& [name, value] : tensors) {
    std::string to = name;
    if (size_t at = name.find(".mlp."); mixtral && at != std::string::npos) to.replace(at, 5, ".block_sparse_moe.");
    size_t at = to.rfind(".experts.");
    bool both = name.ends_with(".experts.gate_up_proj"), down = name.ends_with(".experts.down_proj");
    if ((!both && !down) || value.dim() != 3 || value.size(0) != config.experts.count || (both && value.size(1) % 2)) {
      out[to] = value;
      continue;
    }
    for (int64_t e = 0; e < value.size(0); ++e) {
      std::string expert = to.substr(0, at) + ".experts." + std::to_string(e) + ".";
      Tensor one = value.select(0, e);
      int64_t half = one.size(0) / 2;
      if (down) out[expert + (mixtral ? "w2.weight" : "down_proj.weight")] = one;
      if (both) out[expert + (mixtral ? "w1.weight" : "gate_proj.weight")] = one.narrow(0, 0, half);
      if (both) out[expert + (mixtral ? "w3.weight" : "up_proj.weight")] = one.narrow(0, half, half);
    }
  }
  return out;
}

/// Before anything is allocated: a hostile config.json may ask for more memory than its tensors have.
void check_tensors(const DecoderConfig& config, const std::map<std::string, Tensor>& tensors,
                   const std::string& where) {
  std::vector<std::string> problems;
  std::set<std::string> used;
  for (const auto& place : tensor_places(config, allocate_weights(config, at::kMeta))) {
    const Tensor* given = find_tensor(tensors, place.name, used);
    Tensor wanted = as_stored(place);
    if (!given)
      problems.push_back("'" + place.name + "' is missing");
    else if (given->sizes() != wanted.sizes())
      problems.push_back(cat("'", place.name, "' must be ", wanted.sizes(), ", is ", given->sizes()));
    else if (!given->is_floating_point())
      problems.push_back("'" + place.name + "' must hold floating-point numbers");
  }
  for (const auto& [name, value] : tensors)
    if (!used.count(name) && !is_derived(name) && !(config.tied_head && name == "lm_head.weight"))
      problems.push_back("'" + name + "' belongs to nothing");
  if (!problems.empty()) bad_input(where, "the tensors do not fit config.json: ", join(problems, "; "));
}

/// Linear layers that are packed once all rows of theirs have been read, so that few are unpacked at a time.
class PackedOnceRead {
 public:
  PackedOnceRead(DecoderWeights& weights, const std::vector<TensorPlace>& places, std::string kind)
      : kind_(std::move(kind)) {
    if (kind_.empty()) return;
    check_quantizable(weights.token_embedding.device());
    for_quantized(weights, [&](Linear& linear, const std::string& what) {
      waiting_[linear.weight.storage().data()] = {&linear, what, 0};
    });
    for (const TensorPlace& place : places)
      if (auto found = waiting_.find(place.place.storage().data()); found != waiting_.end()) ++found->second.rows_left;
  }

  /// Takes note that `place` was filled, and lets go of it.
  void filled(Tensor& place) {
    const auto found = waiting_.find(place.storage().data());
    place.reset();
    if (found == waiting_.end() || --found->second.rows_left > 0) return;
    pack_linear(*found->second.linear, kind_, found->second.what);
    waiting_.erase(found);
    give_back_memory();  // what was unpacked
  }

 private:
  struct Waiting {
    Linear* linear;
    std::string what;
    int64_t rows_left;
  };
  std::string kind_;
  std::map<const void*, Waiting> waiting_;
};

/// Memory that was allocated takes none until it is written: layers that are not read yet cost nothing.
DecoderWeights filled_weights(const DecoderConfig& config, const std::map<std::string, Tensor>& tensors,
                              const at::TensorOptions& options, const std::string& where,
                              const DecoderReading& reading) {
  check_tensors(config, tensors, where);
  at::NoGradGuard no_grad;
  DecoderWeights weights = allocate_weights(config, options);
  std::vector<TensorPlace> places = tensor_places(config, weights);
  PackedOnceRead packing(weights, places, reading.quantize);
  std::set<std::string> used;
  for (TensorPlace& place : places) {
    const Tensor& given = *find_tensor(tensors, place.name, used);
    as_stored(place).copy_(given);
    packing.filled(place.place);
    if (reading.taken) reading.taken(given);
  }
  return weights;
}

/// transformers 5 writes "dtype" and older versions "torch_dtype"; what we write must say what we wrote.
std::string with_dtype(const std::string& text, at::ScalarType dtype) {
  auto json = nlohmann::ordered_json::parse(text);
  json[json.contains("torch_dtype") && !json.contains("dtype") ? "torch_dtype" : "dtype"] =
      dtype == at::kBFloat16 ? "bfloat16"
      : dtype == at::kHalf   ? "float16"
      : dtype == at::kDouble ? "float64"
                             : "float32";
  return json.dump(2) + "\n";
}

}  // namespace

Decoder::Decoder(DecoderConfig config, const std::map<std::string, Tensor>& tensors, const at::TensorOptions& options,
                 const std::string& where, const DecoderReading& reading)
    : config_(std::move(config)),
      weights_(filled_weights(config_, with_separate_experts(config_, tensors), options, where, reading)) {
  config_.json = with_dtype(config_.json, c10::typeMetaToScalarType(options.dtype()));
}

std::map<std::string, Tensor> Decoder::hugging_face_tensors(bool keep) const {
  if (group_) return gathered_tensors(keep);
  std::map<std::string, Tensor> out;
  for (const auto& place : tensor_places(config_, weights_))
    out[place.name] = as_stored(place).detach().to(at::kCPU).contiguous();
  return out;
}

Decoder random_decoder(const DecoderConfig& config, at::ScalarType dtype, uint64_t seed) {
  DecoderWeights shapes = allocate_weights(config, at::kMeta);
  std::map<std::string, Tensor> tensors;
  uint64_t stream = 0;
  for (const auto& place : tensor_places(config, shapes)) {
    const std::string& name = place.name;
    Tensor value = at::empty(as_stored(place).sizes(), at::kFloat);
    bool is_bias = name.ends_with(".bias");
    Rng rng(seed, stream++);
    if (value.dim() == 1) {
      value.fill_(is_bias || config.norm_plus_one ? 0.0 : 1.0);  // biases and norms
    } else {
      double std = config.initializer_range;
      if (config.model_type == "gpt2" && name.ends_with("c_proj.weight"))
        std /= std::sqrt(2.0 * static_cast<double>(config.layers));
      float* at = value.data_ptr<float>();
      for (int64_t i = 0; i < value.numel(); ++i)  // Box-Muller
        at[i] = static_cast<float>(std * std::sqrt(-2 * std::log(1 - rng.uniform(2 * i))) *
                                   std::cos(2 * std::numbers::pi * rng.uniform(2 * i + 1)));
    }
    tensors[name] = value;
  }
  return Decoder(config, tensors, dtype, "random_decoder");
}

}  // namespace rft
