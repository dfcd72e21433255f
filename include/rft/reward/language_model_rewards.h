#pragma once
/// Rewards that a language model gives by what it finds likely: the implicit reward of one trained on preferences, and
/// verdicts of one that is asked.
#include <memory>
#include <string>
#include <vector>

#include "rft/core/options.h"
#include "rft/nn/decoder.h"
#include "rft/reward/judge_options.h"
#include "rft/reward/reward_model.h"
#include "rft/text/tokenizer.h"

namespace rft {

class JudgeQuestion;

/// beta (log p(completion | prompt) - log p_ref(completion | prompt)), the reward that a DPO model was trained to
/// maximise (Rafailov et al. 2023, arXiv:2305.18290, eq. 5, but for what depends on the prompt alone). `reference`
/// empty: no reference is taken off; `average`: of a token (SimPO's reward is the two together). The prompt is read
/// with its special tokens, the completion without, and the end of text after it where it was not cut off. NaN with a
/// message where a text has no tokens or is longer than a model takes.
class ImplicitReward : public RewardModel {
 public:
  struct Options {
    std::string path, reference;
    double beta = 0.1;
    bool average = false;
    std::string dtype = "float32";
    int64_t tokens = 16384;
    void visit(OptionVisitor& v);
  };
  /// Throws UserError where a directory holds no language model, or the reference's vocabulary is another.
  explicit ImplicitReward(Options options);
  ~ImplicitReward() override;
  Rewards score(const Experience& batch) override;
  bool per_row() const override { return true; }

 private:
  Options options_;
  Tokenizer tokenizer_;
  std::vector<int64_t> eos_ids_;
  std::unique_ptr<Decoder> model_, reference_;
};

/// The verdict of a language model that is asked about an answer (a judge; Zheng et al. 2023, arXiv:2306.05685), as
/// JudgeOptions says. It is not sampled: its verdict is the mean of `values` under its probabilities of `choices` as
/// the next text, those of the choices alone (a softmax of their summed log-probabilities). So `choices: [Yes, No],
/// values: [1, 0]` is P(yes), and `choices: [1, 2, 3, 4, 5]` an integer score's mean (values: the choices' own numbers
/// where none are given). Of pairs `choices` are the first's and the second's names, and the reward is the mean over
/// both orders of P(the completion's name). NaN with a message where a text is longer than the judge takes.
class Judge : public RewardModel {
 public:
  struct Options : JudgeOptions {
    int64_t tokens = 16384;
    Options() { choices = {"Yes", "No"}; }
    void visit(OptionVisitor& v);
  };
  /// Throws UserError where the directory holds no language model, or template, choices and values don't fit.
  explicit Judge(Options options);
  ~Judge() override;
  Rewards score(const Experience& batch) override;
  bool per_row() const override { return true; }
  std::vector<std::string> columns() const override;

 private:
  Options options_;
  Tokenizer tokenizer_;
  std::unique_ptr<Decoder> model_;
  std::unique_ptr<const JudgeQuestion> question_;
  std::vector<std::vector<int64_t>> choices_;  ///< as tokens
};

}  // namespace rft
