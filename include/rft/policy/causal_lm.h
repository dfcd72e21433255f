#pragma once
/// A causal language model as a policy: a Hugging Face directory whose decisions are tokens. Where an objective asks
/// for values it gets a critic: a linear head on the hidden state before each decision, which trains the trunk too
/// (`head`), or on that of a copy of the model (`model`). It is saved beside the model, in value_head.safetensors and
/// critic/.
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "rft/nn/decoder.h"
#include "rft/policy/counts_tokens.h"
#include "rft/policy/divides_weights.h"
#include "rft/policy/gathers_layers.h"
#include "rft/policy/judges_tokens.h"
#include "rft/policy/policy.h"
#include "rft/policy/reads_prompts.h"
#include "rft/policy/reference_sampler.h"
#include "rft/policy/samples_pieces.h"
#include "rft/text/chat_template.h"
#include "rft/text/tokenizer.h"

namespace rft {

namespace ops {
struct LinearLogp;
}
class ValueHead;
struct RowReader;
struct Guide;
struct SamplerOptions;
struct TokenLayout;

/// context holds "prompt_ids" [B, P] int64 (right-padded with 0) and "prompt_length" [B] int64; action [B, T] holds the
/// completion's tokens, eos included, right-padded with 0. Texts: extra::prompt, extra::completion and the row's
/// columns.
class CausalLm : public Policy,
                 public ReferenceSampler,
                 public SamplesPieces,
                 public SamplesAhead,
                 public GathersLayers,
                 public DividesWeights,
                 public ReadsPrompts,
                 public JudgesTokens,
                 public CountsTokens {
 public:
  struct Options {
    std::string path;
    std::string adapter;
    std::vector<std::string> frozen_adapters;
    std::string reference;
    std::string critic = "head";
    std::string dtype = "float32";
    std::string device = "cpu";
    std::string quantize;
    std::string assistant_turns = "last";
    std::optional<int64_t> max_length;
    std::string too_long = "error";
    bool gradient_checkpointing = false;
    std::optional<double> router_aux_weight;
    bool use_lora = false;
    LoraConfig lora;
    int64_t lora_seed = 0;
    bool sync_reference = false;
    double reference_mixup = 0.6;
    int64_t reference_every = 512;
    /// Not a recipe's: directories of further adapters, sets 1, 2, .. that LmRequest::adapters chooses among.
    std::vector<std::string> adapter_sets;
    void visit(OptionVisitor& v);
  };
  struct Rollout {
    int64_t max_new_tokens = 512;
    double temperature = 1.0;
    double top_p = 1.0;
    int64_t top_k = 0;
    double min_p = 0.0;
    double repetition_penalty = 1.0;
    std::vector<std::string> stop;
    int64_t decode_batch_size = 0;
    double mask_top_p = 1;
    double reference_mixture = 0;
    void visit(OptionVisitor& v);
    SamplerOptions sampler(std::vector<int64_t> eos_ids, int64_t first_row) const;
  };

  explicit CausalLm(Options options);
  ~CausalLm() override;
  void prepare(const Needs& needs, uint64_t seed) override;

  Rows usable(const Rows& rows, const Needs& needs) const override;
  Experience contexts(const Rows& rows) const override;
  Experience demonstrations(const Rows& rows) override;
  Experience pairs(const Rows& rows) const override;
  void visit_rollout(OptionVisitor& visitor) override { rollout_.visit(visitor); }
  Experience sample(const Experience& contexts, const SampleRequest& request) override;
  Experience sample_reference(const Experience& contexts, const SampleRequest& request) override;
  void sample_pieces(const Experience& contexts, const SampleRequest& request, const PieceWork& work) override;
  /// Copies what is trained; frozen weights are shared. On the CPU, of a model that is not divided.
  std::unique_ptr<SamplesPieces> snapshot() override;
  void set_prompts(Experience& batch, const std::vector<std::string>& prompts, bool of_reference) const override;
  Evaluation evaluate(const Experience& batch, const Needs& needs) override;
  Tensor ref_logp(const Experience& batch, const Needs& needs) override;
  Influence token_influence(const Experience& batch) override;
  Tensor row_tokens(const Experience& batch) const override;
  void stepped(int64_t step) override;
  std::vector<Parameter> parameters() override;
  void save(const std::string& directory) const override;
  void load(const std::string& directory) override;
  std::vector<std::string> layer_prefixes() const override;
  std::vector<Parameter> frozen_layers() const override;
  int64_t reference_passes() const override { return options_.use_lora && options_.reference.empty() ? 1 : 0; }
  void set_gate(LayerGate* gate) override { decoder_->set_gate(gate); }
  void divide(Communicator& group, const Needs& needs) override;
  std::map<std::string, WeightPart> weight_parts() const override { return decoder_->parts(); }
  void gather_whole(bool keep) override;
  State state() const override;
  void load_state(const State& state) override;

  /// Adds the adapters to the weights: the policy computes the same without them and saves a whole model.
  void merge_adapters();

  const Decoder& decoder() const { return *decoder_; }
  Decoder& decoder() { return *decoder_; }
  const Tokenizer& tokenizer() const { return tokenizer_; }
  const std::vector<int64_t>& eos_ids() const { return eos_ids_; }
  /// A dataset row as tokens: "prompt" (text, with the post-processor's special tokens) and "completion" (text,
  /// without), or "input_ids" (and "prompt_length"), or "messages" through the model's chat template, whose answer is a
  /// completion's text or messages, or where there is none the last of them. Throws UserError with file:line.
  struct TokenRow {
    std::vector<int64_t> prompt, completion;
    std::vector<bool> learned = {};  ///< of the completion's tokens; empty: all
  };
  virtual TokenRow prompt_row(const Rows& rows, int64_t i) const;
  TokenRow completion_row(const Rows& rows, int64_t i, bool append_eos, const std::string& column = "completion") const;
  /// Packs token rows into an Experience: context's prompt_ids and prompt_length, action, mask.
  static Experience pack(const std::vector<TokenRow>& rows);

 protected:
  /// With a model (null: that of options.path) that may have a score head in place of the vocabulary's, and has no
  /// adapters before add_adapters().
  CausalLm(Options options, std::unique_ptr<Decoder> decoder);
  void add_adapters();
  /// With the policy's dtype, on its device; `quantize` as the option.
  std::unique_ptr<Decoder> load_decoder(const std::string& directory, const std::string& quantize = "") const;
  /// Loads a model directory. Throws UserError where it is none.
  static std::unique_ptr<Decoder> load_decoder(const std::string& directory, at::ScalarType dtype,
                                               const at::Device& device = at::kCPU, const std::string& quantize = "");
  const Options& options() const { return options_; }
  /// Row i's tokens as they are, however many; its answer is in `column`.
  virtual TokenRow uncut_row(const Rows& rows, int64_t i, bool append_eos, const std::string& column) const;

  std::unique_ptr<Decoder> decoder_;

 private:
  class Snapshot;
  /// Of the policy's own answers; moves a reference whose turn has come, unless they are only looked at.
  Guide own_guide(bool greedy);
  /// [M]: of the decisions of `layout`, `states` [M, D] the policy's, among what the reference's mask leaves.
  ops::LinearLogp masked_logp(const TokenLayout& layout, const Tensor& states, double temperature, bool with_entropy);
  void move_reference();
  Experience sample_from(const Decoder& decoder, const Guide& guide, const Experience& contexts,
                         const SampleRequest& request) const;
  void sample_pieces_from(const Decoder& decoder, const Guide& guide, const Experience& contexts,
                          const SampleRequest& request, const PieceWork& work) const;
  void read_adapters();
  void add_frozen_adapters(Decoder& decoder) const;
  const ChatTemplate& chat() const;
  /// Of a whole row, and of a prompt that is to be answered.
  int64_t longest_row() const;
  int64_t longest_prompt() const;
  void check_prompt(const std::vector<int64_t>& ids, const std::string& where) const;
  TokenRow conversation_row(const Rows& rows, int64_t i, const std::string& column) const;
  TokenRow every_turn_row(const Rows& rows, int64_t i) const;
  void show_learned(const TokenRow& row, const std::string& where) const;
  void split_or_encode(const Rows& rows, int64_t i, bool append_eos, const std::string& column, TokenRow& row) const;
  Tensor values(const TokenLayout& layout, const Tensor& states) const;
  Evaluation judge(const Decoder& decoder, const Experience& batch, const Needs& needs, bool adapters);
  Tensor divergence(const Experience& batch, const Tensor& hidden, const Divergence& divergence, double temperature);
  Decoder& reference();
  /// Who judges as the reference: the policy itself without its adapters, where that is the same.
  Decoder& reference_model();
  void add_texts(Experience& batch, const Rows& rows) const;
  RowReader reader(const Rows& rows) const;

  Options options_;
  Rollout rollout_;
  Tokenizer tokenizer_;
  mutable std::unique_ptr<ChatTemplate> chat_;  ///< read when the first conversation is
  std::vector<int64_t> eos_ids_;
  /// What usable() made of rows, by their place and column, until they are encoded: nothing is tokenized twice.
  mutable std::map<std::pair<std::string, std::string>, TokenRow> fitted_;
  std::unique_ptr<ValueHead> value_head_;   ///< where an objective asks for values
  std::unique_ptr<Decoder> critic_;         ///< critic model: the trunk under the value head
  std::unique_ptr<Decoder> reference_;      ///< frozen; a copy is made when it is first asked for
  bool reference_due_ = false;              ///< it moves before the next rollout
  std::map<std::string, Tensor> gathered_;  ///< by gather_whole(), of a divided model
};

}  // namespace rft
