#pragma once
/// A reward model of texts in training: what is trained gives a score, not decisions.
#include <optional>
#include <string>
#include <vector>

#include "rft/policy/causal_lm.h"

namespace rft {

/// A Hugging Face directory of AutoModelForSequenceClassification with one label (Qwen2, Qwen3, Llama, GPT-2), whose
/// score [B] is read at a row's last token; or, for steps, of AutoModelForTokenClassification with one or two labels,
/// whose score [B, T] (the logit, or the difference of the two) is read at each step's last token. A language model's
/// directory becomes one with a new head, which is trained whole beside adapters. `pairs` and `steps` rows are encoded
/// as TRL's RewardTrainer and PRMTrainer do: the end of text follows an answer, `step_separator` each step. It samples
/// nothing.
class TextScorer : public CausalLm {
 public:
  struct Options {
    std::string path;
    std::string adapter;
    std::string dtype = "float32";
    std::string step_separator = "\n";
    bool gradient_checkpointing = false;
    std::optional<int64_t> max_length;
    std::string too_long = "error";
    bool use_lora = false;
    LoraConfig lora;
    int64_t lora_seed = 0;
    void visit(OptionVisitor& v);
  };
  explicit TextScorer(Options options);

  void prepare(const Needs& needs, uint64_t seed) override;
  Experience steps(const Rows& rows) const override;
  Experience sample(const Experience& contexts, const SampleRequest& request) override;
  Evaluation evaluate(const Experience& batch, const Needs& needs) override;
  Tensor ref_logp(const Experience& batch, const Needs& needs) override;

 protected:
  /// Of the column "completions" the steps of an answer, learned where each ends.
  TokenRow uncut_row(const Rows& rows, int64_t i, bool append_eos, const std::string& column) const override;

 private:
  Options options_;
};

}  // namespace rft
