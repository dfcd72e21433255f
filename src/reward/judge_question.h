#pragma once
/// What judges are asked, and what their verdicts are worth.
#include <memory>
#include <string>
#include <vector>

#include "rft/core/experience.h"
#include "rft/core/text_template.h"
#include "rft/reward/judge_options.h"
#include "rft/text/chat_template.h"
#include "rft/text/tokenizer.h"

namespace rft {

class JudgeQuestion {
 public:
  /// Throws UserError where the template lacks what is judged, or there is no chat template.
  explicit JudgeQuestion(const JudgeOptions& options);

  /// Of pairs both.
  int orders() const { return against_.empty() ? 1 : 2; }
  /// The dataset's columns that are read.
  std::vector<std::string> columns() const;
  /// The question about row `row` as tokens; `swapped`: the pair's completion stands second.
  std::vector<int64_t> tokens(const Tokenizer& tokenizer, const Experience& batch, size_t row, bool swapped) const;

 private:
  std::string against_;
  TextTemplate template_;
  std::unique_ptr<ChatTemplate> chat_;
};

/// The number that `text` is, whole; NaN where it is none, or not finite.
double plain_number(const std::string& text);

/// What each of the choices of a judge that judges alone is worth. Throws UserError where that can't be known.
std::vector<double> worth_of_choices(const JudgeOptions& options);

}  // namespace rft
