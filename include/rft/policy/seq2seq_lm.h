#pragma once
/// An encoder-decoder language model as a policy: a Hugging Face directory whose decisions are the tokens of an answer
/// (T5, Raffel et al. 2020, arXiv:1910.10683; BART, Lewis et al. 2020, arXiv:1910.13461; and their kin).
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "rft/nn/seq2seq.h"
#include "rft/policy/causal_lm.h"

namespace rft {

enum class Fit;

/// context holds "prompt_ids" [B, P] int64 (right-padded with 0), what the encoder reads, and "prompt_length" [B]
/// int64; action [B, T] holds the completion's tokens, eos included, right-padded with 0. The decoder's start token is
/// no decision, and neither is the token that generation_config.json (or config.json) says each sampled answer begins
/// with (forced_bos_token_id). Texts: extra::prompt, extra::completion and the row's columns.
///
/// Rows: texts are encoded with what the tokenizer adds to them, prompts and completions alike (transformers'
/// text_target), and eos at the end, whether the tokenizer adds it or not; "input_ids" are taken as they are (and split
/// at "prompt_length", where there is a completion).
///
/// Where an objective asks for values it gets a critic, as CausalLm: a linear head on the decoder's state before each
/// decision, of the model itself (`head`) or of a copy (`model`).
class Seq2SeqLm : public Policy, public CountsTokens {
 public:
  struct Options {
    std::string path;
    std::string adapter;
    std::string reference;
    std::string critic = "head";
    std::string dtype = "float32";
    std::optional<int64_t> max_length;
    std::string too_long = "error";
    bool use_lora = false;
    LoraConfig lora;
    int64_t lora_seed = 0;
    void visit(OptionVisitor& v);
  };
  using Rollout = CausalLm::Rollout;
  using TokenRow = CausalLm::TokenRow;

  explicit Seq2SeqLm(Options options);
  ~Seq2SeqLm() override;
  void prepare(const Needs& needs, uint64_t seed) override;

  Rows usable(const Rows& rows, const Needs& needs) const override;
  Experience contexts(const Rows& rows) const override;
  Experience demonstrations(const Rows& rows) override;
  Experience pairs(const Rows& rows) const override;
  void visit_rollout(OptionVisitor& visitor) override { rollout_.visit(visitor); }
  Experience sample(const Experience& contexts, const SampleRequest& request) override;
  Evaluation evaluate(const Experience& batch, const Needs& needs) override;
  Tensor ref_logp(const Experience& batch, const Needs& needs) override;
  Tensor row_tokens(const Experience& batch) const override;
  std::vector<Parameter> parameters() override;
  void save(const std::string& directory) const override;
  void load(const std::string& directory) override;

  /// Adds the adapters to the weights: the policy computes the same without them and saves a whole model.
  void merge_adapters();

  const Seq2Seq& model() const { return *model_; }
  const Tokenizer& tokenizer() const { return tokenizer_; }
  const std::vector<int64_t>& eos_ids() const { return eos_ids_; }
  /// What each sampled answer begins with, where the directory says so.
  std::optional<int64_t> first_id() const { return first_id_; }
  /// A dataset row as tokens. Throws UserError with file:line.
  TokenRow prompt_row(const Rows& rows, int64_t i) const;
  TokenRow completion_row(const Rows& rows, int64_t i, bool append_eos, const std::string& column = "completion") const;

 private:
  Evaluation judge(const Seq2Seq& model, const Experience& batch, const Needs& needs);
  void add_adapters();
  std::vector<Parameter> critic_parameters() const;
  Tensor values(const Seq2SeqRows& rows, const TokenLayout& layout, const Tensor& states) const;
  TokenRow uncut_row(const Rows& rows, int64_t i, bool append_eos, const std::string& column) const;
  TokenRow fitted_row(const Rows& rows, int64_t i, bool append_eos, const std::string& column) const;
  Fit shorten(TokenRow& row) const;
  int64_t longest() const;
  void end(std::vector<int64_t>& ids) const;
  void add_texts(Experience& batch, const Rows& rows) const;
  RowReader reader(const Rows& rows) const;
  const Seq2Seq& reference();

  Options options_;
  Rollout rollout_;
  std::unique_ptr<Seq2Seq> model_, reference_;  ///< the reference is frozen; a copy is made when it is first asked for
  Tokenizer tokenizer_;
  std::vector<int64_t> eos_ids_;
  std::optional<int64_t> first_id_;
  std::unique_ptr<ValueHead> value_head_;  ///< where an objective asks for values
  std::unique_ptr<Seq2Seq> critic_;        ///< critic model: what is under the value head
  /// What usable() made of rows, by their place and column, until they are encoded: nothing is tokenized twice.
  mutable std::map<std::pair<std::string, std::string>, TokenRow> fitted_;
};

/// Whether `directory` holds an encoder-decoder model or adapters of one (false where it has neither).
bool is_seq2seq_directory(const std::string& directory);

}  // namespace rft
