#pragma once
/// What a reward model says of a text.
#include <memory>
#include <string>
#include <vector>

#include "rft/core/options.h"
#include "rft/core/text_template.h"
#include "rft/nn/decoder.h"
#include "rft/reward/reward_model.h"
#include "rft/text/tokenizer.h"

namespace rft {

class ExpertMixture;

/// Reads prompt and completion as texts, with the reward model's own tokenizer: the prompt with its special tokens, the
/// completion without, and the end of text after it where it was not cut off; with a `prompt_template`, that text in
/// the prompt's place (POLAR, Dou et al. 2025, arXiv:2507.05197: how alike the policies are that wrote the completion
/// and the reference answer in it). A directory of AutoModelForSequenceClassification gives its logit, and one that is
/// a mixture of experts besides (policy.experts; DMoERM) what its perceptron says; one of
/// AutoModelForTokenClassification judges each step of the completion (parts that end with step_separator, and what
/// follows the last) and `aggregate`s the steps' probabilities of being good; or, for credits that read a reward at
/// each decision, `steps` gives them [B, T], each step's probability at its last token, and `progress` each step's
/// probability less that of the step before (of the first: itself), how much nearer the step brought the answer; both
/// need the tokens of a rollout, and the policy's tokenizer. Rows are scored together, those of like length beside each
/// other. A text longer than the model takes is NaN with a message.
class TextReward : public RewardModel {
 public:
  struct Options {
    std::string path;
    std::string dtype = "float32";
    std::string step_separator = "\n";
    std::string prompt_template;
    std::string aggregate = "min";
    int64_t tokens = 16384;
    void visit(OptionVisitor& v);
  };
  /// Throws UserError where the directory can't be read or holds no reward model, or prompt_template has what is
  /// scored.
  explicit TextReward(Options options);
  ~TextReward() override;
  Rewards score(const Experience& batch) override;
  bool per_row() const override { return true; }
  /// Those that prompt_template names.
  std::vector<std::string> columns() const override;

 private:
  struct Text {
    int64_t row = 0;
    std::vector<int64_t> ids, ends;  ///< tokens; the places that are scored
    std::vector<int64_t> columns;    ///< the decisions that end the steps, where each is rewarded
  };
  Text encode(const std::string& prompt, const std::string& completion, bool finished) const;
  /// What the model reads before each row's completion.
  std::vector<std::string> prompts_of(const Experience& batch) const;
  /// Sets `into` [B], or [B, T] where each step is rewarded, at the rows of the texts that `part` numbers.
  void score_together(const std::vector<Text>& texts, const std::vector<size_t>& part, Tensor& into) const;
  /// The decision that ends each step of row `row`; "" or what is wrong goes to `error`.
  std::vector<int64_t> step_columns(const Experience& batch, int64_t row, std::string& error) const;
  bool each_step() const { return options_.aggregate == "steps" || options_.aggregate == "progress"; }
  double aggregated(const std::vector<double>& steps) const;

  Options options_;
  TextTemplate template_;
  Tokenizer tokenizer_;
  std::vector<int64_t> eos_ids_;
  std::unique_ptr<Decoder> model_;
  std::unique_ptr<ExpertMixture> mixture_;  ///< where the model is one
};

}  // namespace rft
