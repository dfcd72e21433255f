#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <nlohmann/json.hpp>

#include "reward/text_likelihood.h"
#include "rft/core/error.h"
#include "rft/core/extra.h"
#include "rft/reward/language_model_rewards.h"

namespace rft {
namespace {

constexpr char kFirst[] = "a", kSecond[] = "b";

/// The number that `text` is, whole; NaN where it is none.
double number_of(const std::string& text) {
  size_t used = 0;
  try {
    double x = std::stod(text, &used);
    return used == text.size() ? x : std::nan("");
  } catch (const std::exception&) {
    return std::nan("");
  }
}

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
  v.option("path", path, "the judge's directory, a language model", required());
  v.option(
      "template", text,
      "what it is asked; {prompt}, {completion} and {COLUMN} of the dataset, of pairs {a} and {b}, stand for their "
      "texts",
      required());
  v.option("choices", choices, "the verdicts that it may give, as they would follow the question");
  v.option("values", values, "what each verdict is worth; empty: the choices' own numbers, of two others 1 and 0");
  v.option("against", against,
           "a column: the completion is compared with its text, in both orders; empty: judged alone");
  v.option("chat", chat, "ask by the judge's chat template");
  v.option("dtype", dtype, "what weights and activations are kept in", one_of({"float32", "bfloat16"}));
  v.option("tokens", tokens, "tokens that are read together at most", at_least(1).in("tokens"));
}

Judge::Judge(Options options)
    : options_(std::move(options)),
      tokenizer_(Tokenizer::load(options_.path)),
      model_(load_frozen(options_.path, options_.dtype, /*scores=*/false)),
      template_(options_.text) {
  if (options_.chat) chat_ = std::make_unique<ChatTemplate>(ChatTemplate::load(options_.path));
  if (options_.choices.size() < 2)
    bad_input("reward.choices", "a verdict is one of at least two; got ", options_.choices.size());
  for (const auto& choice : options_.choices) {
    choices_.push_back(tokenizer_.encode(choice, false));
    if (choices_.back().empty()) bad_input("reward.choices", "the choice '", choice, "' has no tokens");
  }
  check_pair();
  auto& values = options_.values;
  if (values.empty()) {
    for (const auto& choice : options_.choices) values.push_back(number_of(choice));
    bool named = std::any_of(values.begin(), values.end(), [](double x) { return std::isnan(x); });
    if (named && values.size() != 2)
      bad_input("reward.values", "must say what each of the ", values.size(),
                " choices is worth, which are no numbers");
    if (named) values = {1, 0};
  }
  if (values.size() != options_.choices.size())
    bad_input("reward.values", "must have a number for each of the ", options_.choices.size(), " choices; got ",
              values.size());
}

Judge::~Judge() = default;

void Judge::check_pair() const {
  if (options_.against.empty()) {
    if (!template_.has(extra::completion)) bad_input("reward.template", "must have {completion}, which is judged");
    return;
  }
  if (!template_.has(kFirst) || !template_.has(kSecond)) bad_input("reward.template", "a pair's must have {a} and {b}");
  if (options_.choices.size() != 2 || !options_.values.empty())
    bad_input("reward.choices", "a pair's are two names, the first's and the second's, without values; got ",
              options_.choices.size());
}

std::vector<std::string> Judge::columns() const {
  std::vector<std::string> out;
  for (const std::string& name : template_.names())
    if (name != extra::prompt && name != extra::completion &&
        (options_.against.empty() || (name != kFirst && name != kSecond)))
      out.push_back(name);
  if (!options_.against.empty()) out.push_back(options_.against);
  return out;
}

std::vector<int64_t> Judge::question(const Experience& batch, size_t row, bool swapped) const {
  std::string text = template_.fill([&](const std::string& name) {
    std::string column = name;
    bool first = name == kFirst, pair = !options_.against.empty() && (first || name == kSecond);
    if (pair) column = first != swapped ? extra::completion : options_.against;
    return batch.context.text(column).at(row);
  });
  if (!chat_) return tokenizer_.encode(text);
  nlohmann::json message, conversation;
  message["role"] = "user", message["content"] = text;
  conversation["messages"] = nlohmann::json::array({message}), conversation["add_generation_prompt"] = true;
  return tokenizer_.encode(chat_->render(conversation.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace)),
                           false);
}

Rewards Judge::score(const Experience& batch) {
  int64_t rows = batch.rows();
  Rewards out;
  out.value = at::full({rows}, std::numeric_limits<float>::quiet_NaN(), at::kFloat);
  out.errors.assign(static_cast<size_t>(rows), "");
  const int orders = options_.against.empty() ? 1 : 2;
  const size_t count = choices_.size();
  std::vector<Continuation> texts;
  std::vector<int64_t> row;
  for (int64_t i = 0; i < rows; ++i) {
    std::vector<Continuation> own;
    int64_t longest = 0;
    for (int order = 0; order < orders; ++order)
      for (const auto& choice : choices_) {
        own.push_back({question(batch, static_cast<size_t>(i), order == 1), choice});
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
