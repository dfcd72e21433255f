#include <ATen/ATen.h>

#include <algorithm>
#include <limits>

#include "reward/text_likelihood.h"
#include "rft/core/error.h"
#include "rft/core/extra.h"
#include "rft/reward/language_model_rewards.h"

namespace rft {

void ImplicitReward::Options::visit(OptionVisitor& v) {
  v.option("path", path, "the language model's directory", required());
  v.option("reference", reference, "the model that it was trained from, with the same tokenizer; empty: none");
  v.option("beta", beta, "the weight of the KL divergence that it was trained with", above(0));
  v.option("average", average, "a token's mean instead of the sum");
  v.option("dtype", dtype, "what weights and activations are kept in", one_of({"float32", "bfloat16"}));
  v.option("tokens", tokens, "tokens that are read together at most", at_least(1).in("tokens"));
}

ImplicitReward::ImplicitReward(Options options)
    : options_(std::move(options)),
      tokenizer_(Tokenizer::load(options_.path)),
      eos_ids_(end_ids(options_.path, tokenizer_)),
      model_(load_frozen(options_.path, options_.dtype, /*scores=*/false)) {
  if (options_.reference.empty()) return;
  reference_ = load_frozen(options_.reference, options_.dtype, /*scores=*/false);
  if (reference_->config().vocab_size != model_->config().vocab_size)
    bad_input("reward.reference", "'", options_.reference, "' has a vocabulary of ", reference_->config().vocab_size,
              " tokens, the model one of ", model_->config().vocab_size);
}

ImplicitReward::~ImplicitReward() = default;

Rewards ImplicitReward::score(const Experience& batch) {
  int64_t rows = batch.rows(), most = model_->config().max_positions;
  if (reference_) most = std::min(most, reference_->config().max_positions);
  Rewards out;
  out.value = at::full({rows}, std::numeric_limits<float>::quiet_NaN(), at::kFloat);
  out.errors.assign(static_cast<size_t>(rows), "");
  const auto &prompts = batch.context.text(extra::prompt), &completions = batch.context.text(extra::completion);
  Tensor truncated = batch.extra.find(extra::truncated);
  std::vector<Continuation> texts;
  std::vector<int64_t> row;
  for (int64_t i = 0; i < rows; ++i) {
    auto n = static_cast<size_t>(i);
    Continuation text{tokenizer_.encode(prompts[n]), tokenizer_.encode(completions[n], false)};
    if (!truncated.defined() || !truncated[i].item<bool>()) end_text(text.tokens, eos_ids_);
    if (text.before.empty() || text.tokens.empty())
      out.errors[n] = "prompt and completion must have a token each";
    else if (text.size() > most)
      out.errors[n] = cat("the text has ", text.size(), " tokens; the model takes at most ", most);
    else
      row.push_back(i), texts.push_back(std::move(text));
  }
  std::vector<double> likely = summed_logp(*model_, texts, options_.tokens);
  std::vector<double> ref(texts.size(), 0);
  if (reference_) ref = summed_logp(*reference_, texts, options_.tokens);
  for (size_t k = 0; k < texts.size(); ++k) {
    double count = options_.average ? static_cast<double>(texts[k].tokens.size()) : 1;
    out.value[row[k]].fill_(options_.beta * (likely[k] - ref[k]) / count);
  }
  out.components = {{"implicit", out.value, 1.0}};
  return out;
}

}  // namespace rft
