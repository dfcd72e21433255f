#pragma once
/// A judge that reasons before its verdict.
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "rft/core/pattern.h"
#include "rft/nn/decoder.h"
#include "rft/reward/judge_options.h"
#include "rft/reward/reward_model.h"
#include "rft/text/tokenizer.h"

namespace rft {

class JudgeQuestion;

/// What a language model that is asked about an answer comes to after reasoning (Zheng et al. 2023, arXiv:2306.05685,
/// chain-of-thought judges; generative verifiers, Zhang et al. 2024, arXiv:2408.15240), asked as JudgeOptions says. The
/// judge writes `samples` answers to each question; an answer's verdict is the first group of `verdict`, a regular
/// expression, in its last match. Without `choices` the verdict is a number, of `range` where that is given, else one
/// of `choices`, worth one of `values` (the choices' own numbers where none are given, of two others 1 and 0). Of pairs
/// `choices` are the first's and the second's names and, where a third is given, that of a tie: worth 1, 0 and 1/2 to
/// the completion where it stands first. The reward is the mean over the question's orders of the mean over the
/// samples.
///
/// A verdict that can't be read (no match, no number, none of the choices, outside the range) is worth `unreadable`;
/// without that it is left out, and a row of which nothing could be read, in either order of a pair, is NaN with a
/// message. Their share in a row is the component `reasoning_judge/unreadable`. What a question is answered depends on
/// the seed and on its own tokens alone, not on the rows beside it. All questions of a batch are answered together. NaN
/// with a message where a question and max_new_tokens exceed the judge's positions.
class ReasoningJudge : public RewardModel {
 public:
  struct Options : JudgeOptions {
    std::string verdict;
    std::vector<double> range;
    std::optional<double> unreadable;
    int64_t samples = 1;
    double temperature = 0, top_p = 1;
    int64_t max_new_tokens = 512;
    std::vector<std::string> stop;
    int64_t decode_batch_size = 0;
    int64_t seed = 0;
    void visit(OptionVisitor& v);
  };
  /// Throws UserError where the directory holds no language model, the pattern does not compile or has no group, or
  /// template, choices, values, range, samples and temperature don't fit.
  explicit ReasoningJudge(Options options);
  ~ReasoningJudge() override;
  Rewards score(const Experience& batch) override;
  bool per_row() const override { return true; }
  std::vector<std::string> columns() const override;

  /// What a judge's text is worth to the first of a pair, or to what is judged alone; none where that can't be read.
  std::optional<double> verdict_of(const std::string& text) const;

 private:
  struct Asked;
  std::vector<Asked> ask(const Experience& batch, std::vector<std::string>& errors) const;
  void check_verdicts() const;

  Options options_;
  Pattern pattern_;
  std::unique_ptr<const JudgeQuestion> question_;
  Tokenizer tokenizer_;
  std::vector<int64_t> eos_ids_;
  std::unique_ptr<Decoder> model_;
};

}  // namespace rft
