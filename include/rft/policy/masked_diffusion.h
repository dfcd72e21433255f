#pragma once
/// Masked (absorbing-state) diffusion over tokens as a policy (MDLM, Sahoo et al. 2024, arXiv:2406.07524): a sequence
/// starts masked, and is unmasked in steps by a bidirectional transformer.
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "rft/nn/token_denoiser.h"
#include "rft/policy/policy.h"
#include "rft/text/vocabulary.h"

namespace rft {

class WeightAverage;

/// A decision is a token: T = L positions. action [B, L] int64 are the tokens, mask is true where the policy chose
/// them. context holds "tokens" [B, L], the tokens that are given and the mask's id elsewhere.
///
/// A rollout's context also has "unmask_step" [B, L] int64: the step at which a position is unmasked, -1 where its
/// token is given. In the absorbing process, when a position is unmasked does not depend on what is chosen anywhere, so
/// it is drawn beforehand and is not the policy's decision; logp [B, L] is the log-probability of each token given all
/// tokens of earlier steps, and its sum the sequence's, given the order.
///
/// A demonstration (and a rollout with `judge: forward`): each row is masked at a random level t, drawn from
/// extra::draw, and logp is log p(token | the rest) / t where a position is masked, 0 elsewhere: its sum is an unbiased
/// estimate of a lower bound of the sequence's log-probability, and minus its mean MDLM's loss.
///
/// Rows: "input_ids" (the whole sequence; "prompt_length" of them are given, 0 where missing; what is masked there is
/// to be decided), or "prompt" and "completion" as text. Contexts may be shorter than rollout.length, and end masked.
/// The directory holds config.json, model.safetensors and vocab.txt. Texts: extra::prompt, extra::completion.
class MaskedDiffusion : public Policy {
 public:
  struct Options {
    std::string path;
    std::string dtype = "float32";
    double ema_decay = 0;
    void visit(OptionVisitor& v);
  };
  struct Rollout {
    int64_t length = 0;
    int64_t steps = 0;
    std::string order = "random";
    double temperature = 1.0;
    std::optional<double> eval_temperature;
    std::string judge = "steps";
    std::string relaxation = "soft_steps";
    double relaxation_temperature = 1.0;
    std::optional<double> final_relaxation_temperature;
    int64_t relaxation_steps = 0;
    void visit(OptionVisitor& v);
  };

  explicit MaskedDiffusion(Options options);
  /// A model made elsewhere; `make` is called again where a reference policy is needed. Without a vocabulary rows are
  /// `input_ids`, and completions are numbers.
  MaskedDiffusion(std::function<std::unique_ptr<TokenDenoiser>()> make, Options options);
  ~MaskedDiffusion() override;

  Experience contexts(const Rows& rows) const override;
  Experience demonstrations(const Rows& rows) override;
  Experience pairs(const Rows& rows) const override;
  void visit_rollout(OptionVisitor& visitor) override;
  Experience sample(const Experience& contexts, const SampleRequest& request) override;
  Evaluation evaluate(const Experience& batch, const Needs& needs) override;
  /// Reward backpropagation as DRAKES does it (Wang et al. 2024, arXiv:2410.13643): extra::one_hot [B, L, V] is what
  /// the reward sees, and carries the gradient through Gumbel-softmax samples of the last steps.
  Evaluation evaluate_path(const Experience& batch, const Needs& needs, const RewardOfSample& reward) override;
  Tensor ref_logp(const Experience& batch, const Needs& needs) override;
  void stepped(int64_t step) override;
  void report(Metrics& metrics) override;
  void finish() override;
  std::vector<Parameter> parameters() override;
  void save(const std::string& directory) const override;
  void load(const std::string& directory) override;
  State state() const override;
  void load_state(const State& state) override;

  const TokenDenoiser& model() const { return *model_; }
  int64_t length() const { return rollout_.length ? rollout_.length : model_->max_length(); }
  int64_t steps() const { return rollout_.steps ? rollout_.steps : length(); }

 private:
  struct TokenRow;
  struct Choice;
  struct PathStep;
  TokenRow token_row(const Rows& rows, int64_t i, const std::string& column) const;
  Experience whole_sequences(const Rows& rows, const std::string& column) const;
  void add_texts(Experience& batch, const Rows& rows) const;
  std::vector<std::string> texts(const Tensor& tokens, const Tensor& shown) const;
  /// [N, V] log-probabilities of the tokens that may be chosen, at the positions `cells` of features [N, L, D].
  Tensor log_probabilities(const TokenDenoiser& model, const Tensor& features, const Tensor& cells,
                           double temperature) const;
  static Choice choice_at(const Tensor& unmask_step, int64_t step);
  Tensor state_before(const Tensor& action, const Tensor& unmask_step, const Choice& choice, int64_t step) const;
  Evaluation judge_rollout(const TokenDenoiser& model, const Experience& batch, bool current);
  Evaluation judge_demonstrations(const TokenDenoiser& model, const Experience& batch) const;
  void unmask(Experience& out, const SampleRequest& request, double temperature) const;
  Tensor path_step(const PathStep& step, const Tensor& state);
  Evaluation rewarded(const Experience& batch, const Tensor& x, const Tensor& kl, bool with_kl,
                      const RewardOfSample& reward) const;
  double relaxation_temperature() const;
  const TokenDenoiser& reference();
  void start();

  Options options_;
  Rollout rollout_;
  std::function<std::unique_ptr<TokenDenoiser>()> make_;
  std::unique_ptr<TokenDenoiser> model_, reference_;
  std::optional<Vocabulary> vocabulary_;
  Tensor banned_;                           ///< [V] bool: tokens that are never chosen
  std::unique_ptr<WeightAverage> average_;  ///< where ema_decay
  int64_t version_ = 0;  ///< optimizer steps taken: a rollout of the same version needs no recomputing
  double mismatch_ = 0, mismatch_count_ = 0;
};

}  // namespace rft
