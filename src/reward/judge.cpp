#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "reward/judge_question.h"
#include "reward/text_likelihood.h"
#include "rft/core/error.h"
#include "rft/core/extra.h"
#include "rft/reward/language_model_rewards.h"

namespace rft {
namespace {

/// Probabilities among themselves of what has these log-probabilities.
std::vector<double> softmax(const double* logp, size_t count) {
  double most = *std::max_element(logp, logp + count), sum = 0;
  std::vector<double> out;
  for (size_t k = 0; k < count; ++k) out.push_back(std::exp(logp[k] - most)), sum += out.back();
  for (double& p : out) p /= sum;
  return out;
}

}  // namespace

void Judge::Options::visit(OptionVisitor& v) {
  JudgeOptions::visit(v);
  v.option("tokens", tokens, "tokens that are read together at most", at_least(1).in("tokens"));
}

Judge::Judge(Options options)
    : options_(std::move(options)),
      tokenizer_(Tokenizer::load(options_.path)),
      model_(load_frozen(options_.path, options_.dtype, /*scores=*/false)) {
  if (options_.choices.size() < 2)
    bad_input("reward.choices", "a verdict is one of at least two; got ", options_.choices.size());
  for (const auto& choice : options_.choices) {
    choices_.push_back(tokenizer_.encode(choice, false));
    if (choices_.back().empty()) bad_input("reward.choices", "the choice '", choice, "' has no tokens");
  }
  question_ = std::make_unique<JudgeQuestion>(options_);
  if (question_->orders() == 2 && (options_.choices.size() != 2 || !options_.values.empty()))
    bad_input("reward.choices", "a pair's are two names, the first's and the second's, without values; got ",
              options_.choices.size());
  if (question_->orders() == 1) options_.values = worth_of_choices(options_);
}

Judge::~Judge() = default;

std::vector<std::string> Judge::columns() const { return question_->columns(); }

Rewards Judge::score(const Experience& batch) {
  int64_t rows = batch.rows();
  Rewards out;
  out.value = at::full({rows}, std::numeric_limits<float>::quiet_NaN(), at::kFloat);
  out.errors.assign(static_cast<size_t>(rows), "");
  const int orders = question_->orders();
  const size_t count = choices_.size();
  std::vector<Continuation> texts;
  std::vector<int64_t> row;
  for (int64_t i = 0; i < rows; ++i) {
    std::vector<Continuation> own;
    int64_t longest = 0;
    for (int order = 0; order < orders; ++order)
      for (const auto& choice : choices_) {
        own.push_back({question_->tokens(tokenizer_, batch, static_cast<size_t>(i), order == 1), choice});
        longest = std::max(longest, own.back().size());
      }
    if (longest > model_->config().max_positions || own.front().before.empty()) {
      out.errors[static_cast<size_t>(i)] =
          cat("the question has ", longest, " tokens; the judge takes 1 to ", model_->config().max_positions);
      continue;
    }
    row.push_back(i);
    texts.insert(texts.end(), own.begin(), own.end());
  }
  std::vector<double> logp = summed_logp(*model_, texts, options_.tokens);
  for (size_t k = 0; k < row.size(); ++k) {
    const double* at = logp.data() + k * count * static_cast<size_t>(orders);
    std::vector<double> p = softmax(at, count);
    double value = 0;
    if (orders == 2)  // the completion stood first, then second
      value = (p[0] + softmax(at + count, count)[1]) / 2;
    else
      for (size_t c = 0; c < count; ++c) value += p[c] * options_.values[c];
    out.value[row[k]].fill_(value);
  }
  out.components = {{"judge", out.value, 1.0}};
  return out;
}

}  // namespace rft
