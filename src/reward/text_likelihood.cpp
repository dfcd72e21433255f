#include "reward/text_likelihood.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

#include <algorithm>
#include <numeric>

#include "rft/core/batches.h"
#include "rft/core/error.h"
#include "rft/io/files.h"
#include "rft/io/hf_directory.h"
#include "rft/ops/linear_logp.h"

namespace rft {
namespace {

/// Sets `into` at `order`'s rows, which are computed together.
void sum_together(const Decoder& model, const std::vector<Continuation>& texts, const std::vector<size_t>& order,
                  std::vector<double>& into) {
  Packed packed;
  std::vector<int64_t> ids, hidden, target;
  for (size_t i : order) {
    const Continuation& text = texts[i];
    int64_t first = static_cast<int64_t>(ids.size() + text.before.size()) - 1;
    ids.insert(ids.end(), text.before.begin(), text.before.end());
    ids.insert(ids.end(), text.tokens.begin(), text.tokens.end() - 1);  // the last one predicts nothing
    for (size_t t = 0; t < text.tokens.size(); ++t) hidden.push_back(first + static_cast<int64_t>(t));
    target.insert(target.end(), text.tokens.begin(), text.tokens.end());
    packed.lengths.push_back(text.size() - 1);
  }
  packed.ids = at::tensor(ids, at::kLong);
  Tensor states = model.forward(packed, {}).index_select(0, at::tensor(hidden, at::kLong));
  auto result = ops::linear_logp(states, model.weights().head, at::tensor(target, at::kLong), 1.0, false,
                                 model.config().logit_softcap);
  Tensor logp = result.logp.to(at::kDouble).contiguous();
  const double* at = logp.const_data_ptr<double>();
  for (size_t i : order) {
    auto count = static_cast<int64_t>(texts[i].tokens.size());
    into[i] = std::accumulate(at, at + count, 0.0);
    at += count;
  }
}

}  // namespace

std::unique_ptr<Decoder> load_frozen(const std::string& path, const std::string& dtype, bool scores) {
  std::string file = path + "/config.json";
  if (!file_exists(file) && file_exists(path + "/adapter_config.json"))
    bad_input(path, "these are adapters of a model; make a whole one of them: rft merge ", path, " --out DIRECTORY");
  if (!file_exists(file)) bad_input(path, "this is not a Hugging Face model directory: there is no config.json");
  auto config = DecoderConfig::from_json(read_text(file), file);
  if (config.labels && !scores)
    bad_input(path, "this is a reward model (", config.architecture,
              "), not a language model; the reward of type reward_model uses it");
  if (!config.labels && scores)
    bad_input(path, "this is a language model (", config.architecture,
              "), not a reward model; the policy type reward_model makes one of it");
  auto out =
      std::make_unique<Decoder>(config, load_hf_tensors(path), dtype == "bfloat16" ? at::kBFloat16 : at::kFloat, path);
  for (auto& [name, value] : out->weights().named()) value.requires_grad_(false);
  return out;
}

void end_text(std::vector<int64_t>& tokens, const std::vector<int64_t>& ends) {
  bool ended = !tokens.empty() && std::find(ends.begin(), ends.end(), tokens.back()) != ends.end();
  if (!ended && !ends.empty()) tokens.push_back(ends.front());
}

std::vector<double> summed_logp(const Decoder& model, const std::vector<Continuation>& texts, int64_t together) {
  at::NoGradGuard no_grad;
  std::vector<int64_t> sizes;
  for (const Continuation& text : texts) sizes.push_back(text.size());
  std::vector<double> out(texts.size(), 0);
  for (const auto& part : batches_of_like_length(sizes, together)) sum_together(model, texts, part, out);
  return out;
}

}  // namespace rft
