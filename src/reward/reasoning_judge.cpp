#include "rft/reward/reasoning_judge.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "reward/judge_question.h"
#include "reward/text_likelihood.h"
#include "rft/core/error.h"
#include "rft/core/extra.h"
#include "rft/policy/lm_engine.h"

namespace rft {
namespace {

/// A seed of a question's own (FNV-1a), so that what it is answered does not depend on its place in a batch.
uint64_t seed_of(const std::vector<int64_t>& question, int64_t seed) {
  uint64_t hash = 0xcbf29ce484222325 ^ static_cast<uint64_t>(seed);
  for (int64_t token : question) hash = (hash ^ static_cast<uint64_t>(token)) * 0x100000001b3;
  return hash;
}

/// The last characters of a text, whole ones.
std::string end_of(const std::string& text) {
  constexpr size_t shown = 80;
  if (text.size() <= shown) return text;
  size_t first = text.size() - shown;
  while (first < text.size() && (static_cast<unsigned char>(text[first]) & 0xC0) == 0x80) ++first;
  return "..." + text.substr(first);
}

}  // namespace

/// A question about a row, and its answers.
struct ReasoningJudge::Asked {
  int64_t row = 0;
  bool swapped = false;
  std::shared_ptr<LmRequest> request;
};

void ReasoningJudge::Options::visit(OptionVisitor& v) {
  JudgeOptions::visit(v);
  v.option("verdict", verdict,
           "a regular expression (PCRE2) whose first group is the verdict; the last match in the judge's text counts",
           required());
  v.option("range", range, "without choices: the least and the largest number that is a verdict; empty: any");
  v.option("unreadable", unreadable,
           "what a verdict that can't be read is worth; unset: it is left out, and where none could be read the reward "
           "is missing");
  v.option("samples", samples, "answers to each question, whose verdicts are averaged", at_least(1));
  v.option("temperature", temperature, "of the judge's answers; 0 = the likeliest token", at_least(0));
  v.option("top_p", top_p, "sample among the likeliest tokens that make up this probability", between(0, 1));
  v.option("max_new_tokens", max_new_tokens, "length of an answer at most", at_least(1).in("tokens"));
  v.option("stop", stop, "texts that end an answer");
  v.option("decode_batch_size", decode_batch_size, "answers in the making at once; 0 = up to 64, as memory allows",
           at_least(0));
  v.option("seed", seed, "of the judge's draws");
}

ReasoningJudge::ReasoningJudge(Options options)
    : options_(std::move(options)),
      pattern_(options_.verdict, "reward.verdict", {}),
      question_(std::make_unique<JudgeQuestion>(options_)),
      tokenizer_(Tokenizer::load(options_.path)),
      eos_ids_(end_ids(options_.path, tokenizer_)),
      model_(load_frozen(options_.path, options_.dtype, /*scores=*/false)) {
  if (pattern_.groups() < 1)
    bad_input("reward.verdict", "must have a group in parentheses, which is the verdict; got '", options_.verdict, "'");
  if (options_.samples > 1 && options_.temperature == 0)
    bad_input("reward.samples", "of a judge at temperature 0 are all the same; set `temperature`, or ask for one");
  check_verdicts();
  if (question_->orders() == 2) {
    options_.values = {1, 0};
    if (options_.choices.size() == 3) options_.values.push_back(0.5);
  } else if (!options_.choices.empty()) {
    options_.values = worth_of_choices(options_);
  }
}

ReasoningJudge::~ReasoningJudge() = default;

void ReasoningJudge::check_verdicts() const {
  const auto& o = options_;
  if (question_->orders() == 2 && ((o.choices.size() != 2 && o.choices.size() != 3) || !o.values.empty()))
    bad_input("reward.choices",
              "a pair's are the first's name, the second's and, if there are ties, theirs, without values; got ",
              o.choices.size());
  if (o.choices.size() == 1) bad_input("reward.choices", "a verdict is one of at least two; got 1");
  if (o.choices.empty() && !o.values.empty()) bad_input("reward.values", "are worth nothing without choices");
  if (o.range.empty()) return;
  if (!o.choices.empty()) bad_input("reward.range", "is for verdicts that are numbers, not for choices");
  if (o.range.size() != 2 || o.range[0] >= o.range[1])
    bad_input("reward.range", "must be the least and the largest number that is a verdict, such as [1, 10]");
}

std::vector<std::string> ReasoningJudge::columns() const { return question_->columns(); }

std::optional<double> ReasoningJudge::verdict_of(const std::string& text) const {
  std::optional<std::string> said = pattern_.last_group(text);
  if (!said) return {};
  for (size_t k = 0; k < options_.choices.size(); ++k)
    if (options_.choices[k] == *said) return options_.values[k];
  double number = plain_number(*said);
  if (!options_.choices.empty() || std::isnan(number)) return {};
  if (!options_.range.empty() && (number < options_.range[0] || number > options_.range[1])) return {};
  return number;
}

std::vector<ReasoningJudge::Asked> ReasoningJudge::ask(const Experience& batch,
                                                       std::vector<std::string>& errors) const {
  SamplerOptions how;
  how.max_new_tokens = options_.max_new_tokens, how.temperature = options_.temperature, how.top_p = options_.top_p;
  how.stop = options_.stop, how.eos_ids = eos_ids_;
  std::vector<Asked> out;
  for (int64_t row = 0; row < batch.rows(); ++row) {
    std::vector<Asked> own;
    try {
      for (int order = 0; order < question_->orders(); ++order) {
        auto question = question_->tokens(tokenizer_, batch, static_cast<size_t>(row), order == 1);
        auto request = std::make_shared<LmRequest>(LmRequest{
            question, options_.samples, how, seed_of(question, options_.seed), options_.temperature == 0, {}});
        check_request(*request, model_->config(), "the judge's question");
        own.push_back({row, order == 1, std::move(request)});
      }
    } catch (const UserError& error) {
      errors[static_cast<size_t>(row)] = error.what();
      continue;
    }
    std::move(own.begin(), own.end(), std::back_inserter(out));
  }
  return out;
}

Rewards ReasoningJudge::score(const Experience& batch) {
  const auto rows = static_cast<size_t>(batch.rows());
  Rewards out;
  out.errors.assign(rows, "");
  std::vector<Asked> asked = ask(batch, out.errors);
  LmEngine engine(*model_, &tokenizer_,
                  options_.decode_batch_size > 0 ? options_.decode_batch_size
                                                 : default_batch_size(*model_, options_.max_new_tokens));
  for (const Asked& one : asked) engine.add(one.request);
  while (engine.step()) {
  }
  std::vector<float> value(rows, 0), lost(rows, 0);
  for (const Asked& one : asked) {
    const auto row = static_cast<size_t>(one.row);
    double sum = 0, read = 0;
    std::string unread;
    for (const SampledRow& answer : one.request->rows) {
      std::string text = sampled_text(tokenizer_, answer.ids);
      std::optional<double> said = verdict_of(text);
      if (said && one.swapped) said = 1 - *said;
      if (!said) lost[row] += 1, unread = text, said = options_.unreadable;
      if (said) sum += *said, read += 1;
    }
    if (read == 0)
      out.errors[row] = cat("no verdict could be read in the judge's answer, which ends '", end_of(unread), "'");
    value[row] += static_cast<float>(sum / std::max(read, 1.0) / question_->orders());
  }
  for (size_t row = 0; row < rows; ++row)
    if (!out.errors[row].empty()) value[row] = std::numeric_limits<float>::quiet_NaN();
  out.value = at::tensor(value);
  Tensor share = at::tensor(lost).div(static_cast<double>(options_.samples * question_->orders()));
  out.components = {{"reasoning_judge", out.value, 1.0}, {"reasoning_judge/unreadable", share, 0.0}};
  return out;
}

}  // namespace rft
