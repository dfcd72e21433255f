#pragma once
/// A reward model of texts in training: what is trained gives a score, not decisions.
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "rft/policy/causal_lm.h"

namespace rft {

class ExpertMixture;

/// A Hugging Face directory of AutoModelForSequenceClassification with one label (Qwen2, Qwen3, Llama, GPT-2), whose
/// score [B] is read at a row's last token; or, for steps, of AutoModelForTokenClassification with one or two labels,
/// whose score [B, T] (the logit, or the difference of the two) is read at each step's last token. A language model's
/// directory becomes one with a new head, which is trained whole beside adapters. `pairs` and `steps` rows are encoded
/// as TRL's RewardTrainer and PRMTrainer do: the end of text follows an answer, `step_separator` each step. With a
/// `prompt_template` an answer is read behind that text in the prompt's place, as a policy discriminator reads prompt,
/// reference and prompt again (POLAR, Dou et al. 2025, arXiv:2507.05197). With `experts`, adapters of this reward model
/// that were trained on one point each, what is trained is the perceptron that makes a score of what they see
/// (ExpertMixture; DMoERM's third phase). It samples nothing.
class TextScorer : public CausalLm {
 public:
  struct Options {
    std::string path;
    std::string adapter;
    std::string dtype = "float32";
    std::string step_separator = "\n";
    std::string prompt_template;
    std::vector<std::string> experts;
    bool gradient_checkpointing = false;
    std::optional<int64_t> max_length;
    std::string too_long = "error";
    bool use_lora = false;
    LoraConfig lora;
    int64_t lora_seed = 0;
    void visit(OptionVisitor& v);
  };
  explicit TextScorer(Options options);
  ~TextScorer() override;

  void prepare(const Needs& needs, uint64_t seed) override;
  Experience steps(const Rows& rows) const override;
  Experience sample(const Experience& contexts, const SampleRequest& request) override;
  Evaluation evaluate(const Experience& batch, const Needs& needs) override;
  Tensor ref_logp(const Experience& batch, const Needs& needs) override;
  TokenRow prompt_row(const Rows& rows, int64_t i) const override;
  std::vector<Parameter> parameters() override;
  /// With experts the directory is the reward model's, with their adapters (expert-0, expert-1, ..) and the perceptron
  /// (kExpertMixture) beside it.
  void save(const std::string& directory) const override;
  void load(const std::string& directory) override;
  std::vector<std::string> layer_prefixes() const override;
  void divide(Communicator& group, const Needs& needs) override;

 protected:
  /// Of the column "completions" the steps of an answer, learned where each ends.
  TokenRow uncut_row(const Rows& rows, int64_t i, bool append_eos, const std::string& column) const override;

 private:
  void add_experts(uint64_t seed);

  Options options_;
  std::vector<std::string> experts_;        ///< adapter directories
  std::unique_ptr<ExpertMixture> mixture_;  ///< where there are experts
};

}  // namespace rft
