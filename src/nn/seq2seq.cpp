#include "rft/nn/seq2seq.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

#include <algorithm>
#include <cmath>

#include "core/model_config.h"
#include "nn/seq2seq_models.h"
#include "rft/core/error.h"
#include "rft/core/text.h"

namespace rft {
namespace {

const std::vector<std::string> kT5{"T5ForConditionalGeneration", "MT5ForConditionalGeneration",
                                   "UMT5ForConditionalGeneration"},
    kBart{"BartForConditionalGeneration", "MBartForConditionalGeneration", "PegasusForConditionalGeneration"};

bool among(const std::vector<std::string>& names, const std::string& name) {
  return std::find(names.begin(), names.end(), name) != names.end();
}

std::string first_architecture(const std::string& config_json, const std::string& where) {
  const auto names = ModelConfig(config_json, where).texts("architectures", {});
  return names.empty() ? "" : names[0];
}

}  // namespace

bool is_seq2seq(const std::string& config_json, const std::string& where) {
  const std::string name = first_architecture(config_json, where);
  return among(kT5, name) || among(kBart, name);
}

std::unique_ptr<Seq2Seq> make_seq2seq(const std::string& config_json, const WeightSource& source,
                                      const std::string& where) {
  const std::string name = first_architecture(config_json, where);
  if (among(kT5, name)) return make_t5_seq2seq(config_json, source, where);
  if (among(kBart, name)) return make_bart(config_json, source, where);
  std::vector<std::string> known = kT5;
  known.insert(known.end(), kBart.begin(), kBart.end());
  bad_input(where, "there is no encoder-decoder language model '", name, "' (config.json's architectures)",
            suggestion(name, known));
}

std::unique_ptr<Seq2Seq> random_t5(const std::string& config_json, at::ScalarType dtype, uint64_t seed) {
  auto model = make_seq2seq(config_json, WeightSource::random(dtype, seed), "config.json");
  at::NoGradGuard no_grad;
  for (const auto& [name, value] : model->weights().tensors) {
    if (value.dim() < 2) continue;  // norms
    // Embeddings were drawn from a normal distribution, matrices evenly from +- 1 / sqrt(columns).
    const bool normal = name.ends_with("shared.weight") || name.find("relative_attention_bias") != std::string::npos;
    const double drawn = normal ? 1 : 1 / std::sqrt(3.0 * static_cast<double>(value.size(1)));
    Tensor(value).mul_(t5_deviation(name, value, config_json) / drawn);
  }
  return model;
}

}  // namespace rft
