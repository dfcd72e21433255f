#include "reward/judge_question.h"

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>

#include "rft/core/error.h"
#include "rft/core/extra.h"

namespace rft {
namespace {

constexpr char kFirst[] = "a", kSecond[] = "b";

}  // namespace

void JudgeOptions::visit(OptionVisitor& v) {
  v.option("path", path, "the judge's directory, a language model", required());
  v.option(
      "template", text,
      "what it is asked; {prompt}, {completion} and {COLUMN} of the dataset, of pairs {a} and {b}, stand for their "
      "texts",
      required());
  v.option("choices", choices, "the verdicts that it may give");
  v.option("values", values, "what each verdict is worth; empty: the choices' own numbers, of two others 1 and 0");
  v.option("against", against,
           "a column: the completion is compared with its text, in both orders; empty: judged alone");
  v.option("chat", chat, "ask by the judge's chat template");
  v.option("dtype", dtype, "what weights and activations are kept in", one_of({"float32", "bfloat16"}));
}

JudgeQuestion::JudgeQuestion(const JudgeOptions& options) : against_(options.against), template_(options.text) {
  if (options.chat) chat_ = std::make_unique<ChatTemplate>(ChatTemplate::load(options.path));
  if (against_.empty() && !template_.has(extra::completion))
    bad_input("reward.template", "must have {completion}, which is judged");
  if (!against_.empty() && (!template_.has(kFirst) || !template_.has(kSecond)))
    bad_input("reward.template", "a pair's must have {a} and {b}");
}

std::vector<std::string> JudgeQuestion::columns() const {
  std::vector<std::string> out;
  for (const std::string& name : template_.names())
    if (name != extra::prompt && name != extra::completion && (against_.empty() || (name != kFirst && name != kSecond)))
      out.push_back(name);
  if (!against_.empty()) out.push_back(against_);
  return out;
}

std::vector<int64_t> JudgeQuestion::tokens(const Tokenizer& tokenizer, const Experience& batch, size_t row,
                                           bool swapped) const {
  std::string text = template_.fill([&](const std::string& name) {
    std::string column = name;
    bool first = name == kFirst, pair = !against_.empty() && (first || name == kSecond);
    if (pair) column = first != swapped ? extra::completion : against_;
    return batch.context.text(column).at(row);
  });
  if (!chat_) return tokenizer.encode(text);
  nlohmann::json message, conversation;
  message["role"] = "user", message["content"] = text;
  conversation["messages"] = nlohmann::json::array({message}), conversation["add_generation_prompt"] = true;
  return tokenizer.encode(chat_->render(conversation.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace)),
                          false);
}

double plain_number(const std::string& text) {
  size_t used = 0;
  try {
    double x = std::stod(text, &used);
    return used == text.size() && std::isfinite(x) ? x : std::nan("");
  } catch (const std::exception&) {
    return std::nan("");
  }
}

std::vector<double> worth_of_choices(const JudgeOptions& options) {
  std::vector<double> values = options.values;
  if (values.empty()) {
    for (const auto& choice : options.choices) values.push_back(plain_number(choice));
    bool named = std::any_of(values.begin(), values.end(), [](double x) { return std::isnan(x); });
    if (named && values.size() != 2)
      bad_input("reward.values", "must say what each of the ", values.size(),
                " choices is worth, which are no numbers");
    if (named) values = {1, 0};
  }
  if (values.size() != options.choices.size())
    bad_input("reward.values", "must have a number for each of the ", options.choices.size(), " choices; got ",
              values.size());
  return values;
}

}  // namespace rft
