#pragma once
/// LoRA on language models that are built of Weights (encoder-decoder ones), in the files that PEFT saves and loads.
#include <map>
#include <string>

#include "rft/nn/decoder.h"
#include "rft/nn/weights.h"

namespace rft {

/// Adds adapters to the linear layers that `config` names, to all of them where it names none, and freezes the rest.
/// Throws UserError where a target names no layer, and on modules_to_save.
void add_peft_lora(Weights& weights, const LoraConfig& config, uint64_t seed);
/// Adapter tensors under PEFT's names ("base_model.model.encoder.block.0.layer.0.SelfAttention.q.lora_A.weight"), on
/// the CPU.
std::map<std::string, Tensor> peft_tensors(const Weights& weights);
/// Fills existing adapters; all missing and misshapen ones are named in one UserError.
void load_peft_tensors(const Weights& weights, const std::map<std::string, Tensor>& tensors, const std::string& where);
/// Adds every adapter to its layer's weight; none is left.
void merge_lora(Weights& weights);
/// adapter_config.json's text of a model for `task` ("SEQ_2_SEQ_LM").
std::string peft_config_json(const Weights& weights, const LoraConfig& config, const std::string& base_model,
                             const std::string& task);

}  // namespace rft
