#include "rft/reward/math_answer.h"

#include <algorithm>
#include <cctype>

#include "reward/math_value.h"
#include "reward/per_row.h"
#include "rft/core/extra.h"

namespace rft {
namespace {

std::string line_from(const std::string& text, size_t at) {
  size_t end = text.find('\n', at);
  return text.substr(at, end == std::string::npos ? std::string::npos : end - at);
}

std::string last_boxed(const std::string& text) {
  size_t at = text.rfind("\\boxed{");
  if (at == std::string::npos) return "";
  int depth = 0;
  for (size_t i = at + 6; i < text.size(); ++i) {
    if (text[i] == '{') ++depth;
    if (text[i] == '}' && --depth == 0) return text.substr(at + 7, i - at - 7);
  }
  return "";  // never closed: cut off
}

std::string after_hashes(const std::string& text) {
  size_t at = text.rfind("####");
  return at == std::string::npos ? "" : line_from(text, at + 4);
}

std::string after_phrase(const std::string& text) {
  std::string lower = text;
  std::transform(lower.begin(), lower.end(), lower.begin(), [](unsigned char c) { return std::tolower(c); });
  size_t best = std::string::npos;
  for (const std::string phrase : {"answer is", "answer:", "answer ="})
    if (size_t at = lower.rfind(phrase);
        at != std::string::npos && (best == std::string::npos || at + phrase.size() > best))
      best = at + phrase.size();
  if (best == std::string::npos) return "";
  std::string found = line_from(text, best);
  found = found.substr(std::min(found.find_first_not_of(" :*"), found.size()));
  if (size_t stop = found.find(". "); stop != std::string::npos) found = found.substr(0, stop);
  return found;
}

std::string after_equals(const std::string& text) {
  size_t at = text.rfind('=');
  if (at == std::string::npos) return "";
  std::string found = line_from(text, at + 1);
  return math::evaluate(found) ? found : "";
}

/// The last number, with its sign, thousands separators, decimals, "/b" and "%".
std::string last_number(const std::string& text) {
  auto digit = [&](size_t i) { return i < text.size() && std::isdigit(static_cast<unsigned char>(text[i])); };
  size_t end = text.size();
  while (end > 0 && !digit(end - 1)) --end;
  if (end == 0) return "";
  size_t begin = end;
  while (begin > 0 &&
         (digit(begin - 1) || ((text[begin - 1] == '.' || text[begin - 1] == ',' || text[begin - 1] == '/') &&
                               digit(begin) && (begin == 1 || digit(begin - 2) || text[begin - 1] == '.'))))
    --begin;
  std::string number = text.substr(begin, end - begin);
  // "6,623" is a list unless the comma separates thousands.
  if (size_t comma = number.rfind(','); comma != std::string::npos && !math::evaluate(number))
    number = number.substr(comma + 1), begin = end - number.size();
  bool negative = begin > 0 && text[begin - 1] == '-' && (begin == 1 || !(digit(begin - 2) || text[begin - 2] == ')'));
  return (negative ? "-" : "") + number + (end < text.size() && text[end] == '%' ? "%" : "");
}

}  // namespace

std::string final_answer(const std::string& completion, const std::string& how) {
  struct Way {
    const char* name;
    std::string (*find)(const std::string&);
  };
  static constexpr Way kWays[] = {{"boxed", last_boxed},
                                  {"hashes", after_hashes},
                                  {"phrase", after_phrase},
                                  {"equals", after_equals},
                                  {"number", last_number}};
  for (const auto& way : kWays) {
    if (how != "auto" && how != way.name) continue;
    if (std::string found = way.find(completion); !math::normalized(found).empty()) return found;
  }
  return "";
}

void MathAnswer::Options::visit(OptionVisitor& v) {
  v.option("column", column, "the dataset's column with the right answer");
  v.option("extract", extract, "where the answer stands; auto: the first of these that is there",
           one_of({"auto", "boxed", "hashes", "phrase", "equals", "number"}));
  v.option("correct", correct, "reward of a right answer");
  v.option("incorrect", incorrect, "reward of a wrong answer, or of none");
  v.option("tolerance", tolerance, "relative difference up to which inexact numbers are equal", at_least(0));
}

Rewards MathAnswer::score(const Experience& batch) {
  const auto &completions = batch.context.text(extra::completion), &answers = batch.context.text(options_.column);
  return score_rows(batch, "math_answer", [&](int64_t row) {
    std::string found = final_answer(completions.at(row), options_.extract);
    return !found.empty() && math::same_answer(found, answers.at(row), options_.tolerance) ? options_.correct
                                                                                           : options_.incorrect;
  });
}

}  // namespace rft
