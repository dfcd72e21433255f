// A reward model whose score is made of what LoRA experts see.
#include <filesystem>

#include "policy/adapter_directory.h"
#include "rft/core/error.h"
#include "rft/io/adapter_files.h"
#include "rft/io/files.h"
#include "rft/io/safetensors.h"
#include "rft/nn/expert_mixture.h"
#include "rft/policy/text_scorer.h"

namespace rft {
namespace {

constexpr char kExpertsOption[] = "policy.experts";

/// An expert's adapters were trained on the very model that they are now put on.
void check_base(const std::string& expert, const std::string& path) {
  if (!is_adapter_directory(expert))
    bad_input(kExpertsOption, "'", expert,
              "' is no adapter directory (adapter_config.json, adapter_model.safetensors)");
  const std::string base = adapter_base(expert);
  if (!std::filesystem::equivalent(base, path))
    bad_input(kExpertsOption, "'", expert, "' was trained on '", base, "', not on policy.path '", path, "'");
}

}  // namespace

void TextScorer::add_experts(uint64_t seed) {
  const std::string& path = options().path;
  experts_ = adapters_within(path, kExpert);
  if (experts_.empty()) {
    experts_ = options_.experts;
    for (const std::string& expert : experts_) check_base(expert, path);
  }
  if (experts_.empty()) return;
  if (options().use_lora) bad_input(kExpertsOption, "are frozen, and so is what they stand on: no `lora` beside them");
  std::vector<ExpertMixture::Expert> read;
  for (const std::string& expert : experts_) {
    auto [tensors, file] = read_adapter_tensors(expert);
    read.push_back({read_adapter_config(expert), std::move(tensors), file});
  }
  mixture_ = std::make_unique<ExpertMixture>(*decoder_, read, seed);
  if (file_exists(path + kExpertMixture))
    mixture_->load(load_safetensors(path + kExpertMixture).tensors, path + kExpertMixture);
}

std::vector<Parameter> TextScorer::parameters() {
  if (!mixture_) return CausalLm::parameters();
  std::vector<Parameter> out;
  for (const auto& [name, value] : mixture_->named()) out.push_back({name, value, value.dim() > 1});
  return out;
}

void TextScorer::save(const std::string& directory) const {
  CausalLm::save(directory);
  if (!mixture_) return;
  copy_adapters_into(directory, kExpert, experts_);
  std::map<std::string, Tensor> tensors;
  for (const auto& [name, value] : mixture_->named()) tensors[name] = value.detach();
  save_safetensors(directory + kExpertMixture, tensors);
}

void TextScorer::load(const std::string& directory) {
  CausalLm::load(directory);
  if (mixture_) mixture_->load(load_safetensors(directory + kExpertMixture).tensors, directory + kExpertMixture);
}

std::vector<std::string> TextScorer::layer_prefixes() const {
  if (mixture_) bad_input("train.shard", "with policy.experts nothing but a small perceptron is trained; leave it out");
  return CausalLm::layer_prefixes();
}

void TextScorer::divide(Communicator& group, const Needs& needs) {
  if (mixture_) bad_input("train.tensor_parallel", "a mixture of experts (policy.experts) can't be divided; use 1");
  CausalLm::divide(group, needs);
}

}  // namespace rft
