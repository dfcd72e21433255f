#pragma once
/// Options that judges have in common.
#include <string>
#include <vector>

#include "rft/core/options.h"

namespace rft {

/// Whom is asked what about a completion, and what the verdicts are worth. In `template` {prompt}, {completion} and
/// {COLUMN} of the dataset stand for their texts; with `chat` it is a user's message in the model's chat template. With
/// `against`, a column of the dataset, a pair is judged: {a} and {b} are the completion and that column's text, and
/// then once more the other way round, so that the judge's liking for a place falls out (position swap).
struct JudgeOptions {
  std::string path, text, against;
  std::vector<std::string> choices;
  std::vector<double> values;
  bool chat = false;
  std::string dtype = "float32";
  void visit(OptionVisitor& v);
};

}  // namespace rft
