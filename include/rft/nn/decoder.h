#pragma once
/// Decoder-only transformers (Llama, Mistral, Mixtral, Qwen 2 and 3, Qwen3-MoE, Gemma 2 and 3, Phi-3, OLMo-2, SmolLM3,
/// GPT-2) as one architecture described by config.json.
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "rft/core/options.h"
#include "rft/dist/weight_part.h"
#include "rft/nn/layer_gate.h"
#include "rft/nn/layers.h"

namespace rft {

/// The angles of rotary position embeddings, scaling (linear, llama3, yarn, longrope) applied. Only the first
/// 2 * inv_freq.size() numbers of a head turn.
struct Rotary {
  std::vector<double> inv_freq;
  double scale = 1;  ///< cos and sin are multiplied by it (yarn's attention factor)
};

/// What sets a layer apart from the others.
struct LayerKind {
  bool rope = true;         ///< SmolLM3 has layers without
  bool local_rope = false;  ///< turns by local_rotary (Gemma 3's sliding layers)
  int64_t window = 0;       ///< a token sees so many positions, itself the last; 0: all before it
  bool experts = false;     ///< a mixture of experts instead of one MLP
};

/// Mixtures of experts (Mixtral, Qwen3-MoE): each token goes through the few experts its router likes best.
struct Experts {
  int64_t count = 0, per_token = 0, intermediate_size = 0;
  bool normalise = true;      ///< the chosen experts' weights sum to 1
  double balance_weight = 0;  ///< of the load-balancing loss in training (router_aux_loss_coef where
                              ///< output_router_logits is on)
};

/// What config.json says. An unknown architecture, or a field whose value would change the computation in a way that is
/// not implemented, is a UserError that names it.
struct DecoderConfig {
  std::string architecture;  ///< "Qwen2ForCausalLM", "LlamaForCausalLM", "GPT2LMHeadModel", ..., or with a score head
                             ///< "Qwen2ForSequenceClassification", "Qwen2ForTokenClassification", ...
  std::string model_type;    ///< "qwen2", "llama", "gpt2", ...
  int64_t vocab_size = 0, hidden_size = 0, intermediate_size = 0, layers = 0;
  int64_t heads = 0, kv_heads = 0, head_dim = 0;
  int64_t max_positions = 0;  ///< longest sequence
  double norm_eps = 1e-6;
  double initializer_range = 0.02;
  bool rms_norm = true;             ///< else LayerNorm with bias
  bool norm_plus_one = false;       ///< Gemma's norms multiply by 1 + weight
  bool pre_norm = true;             ///< attention and MLP read a normed input
  bool post_norm = false;           ///< their output is normed before it is added (Gemma, and without pre_norm OLMo-2)
  bool rope = true;                 ///< else learned position embeddings
  bool gated_mlp = true;            ///< SwiGLU; else a plain MLP
  std::string activation = "silu";  ///< silu, gelu, gelu_new (tanh), relu
  bool qkv_bias = false, out_bias = false, mlp_bias = false;
  bool qk_norm = false;      ///< q and k are normed, each head by itself
  bool qk_norm_all = false;  ///< q and k are normed over all their heads together (OLMo-2)
  bool tied_head = false;
  double embedding_scale = 1;    ///< token embeddings are multiplied by it (Gemma: sqrt(hidden_size))
  double attention_scale = 0;    ///< scores are multiplied by it; 0: 1 / sqrt(head_dim)
  double attention_softcap = 0;  ///< scores are c tanh(score / c); 0: as they are
  double logit_softcap = 0;      ///< the vocabulary's logits likewise
  int64_t labels = 0;  ///< outputs of a score head (a reward model), which stands in the place of the vocabulary's; 0:
                       ///< a language model
  bool head_bias = false;  ///< a score head of every token has one (token classification)
  Rotary rotary, local_rotary;
  Experts experts;
  std::vector<LayerKind> kinds;  ///< one a layer
  std::string json;              ///< config.json as read: written back unchanged but for dtype

  /// `text` is config.json; `where` names it in errors.
  static DecoderConfig from_json(const std::string& text, const std::string& where);
  /// The same trunk with a score head of `labels` outputs, as transformers' AutoModelForSequenceClassification (or, of
  /// every token, AutoModelForTokenClassification) writes it. `pad_id` is written where the model has none.
  DecoderConfig with_score_head(int64_t labels, bool every_token, int64_t pad_id) const;
};

struct ExpertLayer {
  Linear gate_up, down;  ///< as a layer's
};

struct DecoderLayer {
  Norm attention_norm, mlp_norm;            ///< where pre_norm
  Norm attention_post_norm, mlp_post_norm;  ///< where post_norm
  Linear qkv;                               ///< rows: heads*head_dim of q, then kv_heads*head_dim of k, then of v
  Norm q_norm, k_norm;                      ///< [head_dim] where qk_norm, all heads' where qk_norm_all
  Linear out;
  Linear gate_up;  ///< gated: rows intermediate of gate, then of up; else just the first MLP layer
  Linear down;
  Linear router;  ///< [experts, D], where the layer has experts; gate_up and down are undefined there
  std::vector<ExpertLayer> experts;
};

class ExpertUse;
struct Share;

/// The weights, shared by the trainer and the sampler.
struct DecoderWeights {
  Tensor token_embedding;     ///< [V, D]
  Tensor position_embedding;  ///< [max_positions, D], where not rope
  std::vector<DecoderLayer> layers;
  Norm final_norm;
  Tensor head;       ///< [V, D], the token embedding itself where tied; or [labels, D]
  Tensor head_bias;  ///< [labels], or undefined

  /// Every base tensor once, by the name it is trained under ("layers.0.qkv.weight").
  std::vector<std::pair<std::string, Tensor>> named() const;
};

/// Ragged rows laid end to end: no padding.
struct Packed {
  Tensor ids;                    ///< [N] int64, all rows' tokens one after another
  std::vector<int64_t> lengths;  ///< tokens of each row; they sum to N
};

/// How a Decoder takes the tensors of a directory.
struct DecoderReading {
  /// Linear layers are packed as soon as their rows are there, as quantize() of rft/nn/quantize.h does it: "int8",
  /// "nf4";
  /// "": they stay as they are.
  std::string quantize;
  /// Called with each tensor that was copied and isn't needed any more; may be empty.
  std::function<void(const Tensor&)> taken;
};

class Decoder {
 public:
  /// `tensors` are named and shaped as `save_pretrained` writes them. All missing and misshapen tensors are named in
  /// one UserError that starts with `where`. Extra tensors that are known to be derived (rotary inv_freq, attn.bias
  /// masks) are ignored; others are an error. `options` say the dtype and the device of the weights.
  Decoder(DecoderConfig config, const std::map<std::string, Tensor>& tensors, const at::TensorOptions& options,
          const std::string& where, const DecoderReading& reading = {});

  /// Of a divided model (divide()) heads, kv_heads and intermediate_size are this process's own.
  const DecoderConfig& config() const { return config_; }
  DecoderWeights& weights() { return weights_; }
  const DecoderWeights& weights() const { return weights_; }
  /// Without adapters: the same, but for the modules that are trained whole beside them, which are as they were.
  const DecoderWeights& weights(bool adapters) const { return adapters || !base_ ? weights_ : *base_; }

  /// PEFT's modules_to_save: copies of the named modules (embeddings, head, norms; a name is the end of a module's
  /// path) are trained in their place, beside frozen ones that Forward{.adapters = false} still reads. A tied head
  /// stays the frozen embedding unless it is named itself. Throws UserError naming `where` on a name that is no such
  /// module.
  void train_whole(const std::vector<std::string>& modules, const std::string& where);
  /// The tensors of these copies, by the names that save_pretrained would write them under.
  std::vector<std::pair<std::string, Tensor>> whole_tensors() const;
  /// Keeps the copies and lets go of what they stood beside. A head that was tied and no longer is gets its own tensor.
  void keep_whole();

  /// From now on forward() goes through `gate` (which the caller keeps) around each layer; null: through none.
  void set_gate(LayerGate* gate) { gate_ = gate; }

  /// From now on this process has its part of every layer and of the vocabulary, and computes with the group's others
  /// (tensor parallelism, Megatron-LM, arXiv:1909.08053): its heads and its rows of the MLP, whose outputs are summed
  /// once behind the attention and once behind the MLP, and its tokens of embedding and head. What forward() gives is
  /// the same, bit for bit, in all of them, and collective. `group` must outlive this. The tensors of weights() stay,
  /// with new sizes. Throws UserError, before anything is changed, where the model can't be divided so.
  void divide(Communicator& group);
  Communicator* group() const { return group_; }  ///< null where the model is whole
  /// Of the weights by the names of DecoderWeights::named(); of the others every process has the whole.
  std::map<std::string, WeightPart> parts() const;
  /// Which tokens of the vocabulary this process has.
  Share vocabulary() const;

  at::Device device() const { return weights_.token_embedding.device(); }

  /// The weights under their Hugging Face names and shapes (views or copies, on the CPU). Of a divided model
  /// collective; those that do not `keep` them get nothing.
  std::map<std::string, Tensor> hugging_face_tensors(bool keep = true) const;

  struct Forward {
    bool adapters = true;     ///< false: the base model, as if there were no adapters
    bool checkpoint = false;  ///< recompute each layer in the backward pass instead of keeping its activations
  };
  /// [N, D]: the hidden states after the final norm, with gradients where grad mode is on.
  Tensor forward(const Packed& rows, const Forward& options) const;

  /// How evenly the experts of `rows` were used, of a model that has some: Switch's load-balancing loss (Fedus et al.
  /// 2021, arXiv:2101.03961, eq. 4 to 6; transformers' load_balancing_loss_func over all layers together): experts *
  /// sum_e (share of choices that fell on e) (mean probability of e); 1 * per_token where all are used alike.
  struct Balanced {
    Tensor hidden;   ///< as forward()'s
    Tensor balance;  ///< scalar float32, differentiable; undefined where the model has no experts
  };
  Balanced forward_balanced(const Packed& rows, const Forward& options) const;

 private:
  /// forward(), counting into `use` where that is not null.
  Tensor run(const Packed& rows, const Forward& options, ExpertUse* use) const;
  Tensor embedded(const DecoderWeights& weights, const Tensor& ids) const;
  std::map<std::string, Tensor> gathered_tensors(bool keep) const;

  DecoderConfig config_;
  DecoderWeights weights_;
  std::optional<DecoderWeights> base_;  ///< where modules are trained whole: weights_ with the frozen ones
  LayerGate* gate_ = nullptr;
  Communicator* group_ = nullptr;
  std::optional<DecoderConfig> whole_;  ///< where divided: what config_ was
};

/// A model with the weights transformers gives an untrained one: normal(0, initializer_range) for linear layers and
/// embeddings, zeros for biases, ones for norms; GPT-2's residual projections scaled by 1 / sqrt(2 layers).
Decoder random_decoder(const DecoderConfig& config, at::ScalarType dtype, uint64_t seed);

/// Which modules get adapters and how large they are: PEFT's LoraConfig.
struct LoraConfig {
  int64_t rank = 16;
  double alpha = 32;
  double dropout = 0;                        ///< only 0 is implemented; anything else is refused
  std::vector<std::string> target_modules;   ///< names such as "q_proj"; empty = all linear layers but the head
  std::string target_regex;                  ///< in their place: a pattern of whole module paths ("" = none)
  NamedNumbers rank_pattern, alpha_pattern;  ///< other ranks and alphas of the modules whose path, or the end of it
                                             ///< after a dot, a pattern matches; the first that does counts
  bool rslora = false;                       ///< scale alpha / sqrt(rank) instead of alpha / rank
  std::vector<std::string> modules_to_save;  ///< modules that are trained whole: Decoder::train_whole()
  bool dora = false;                         ///< adapters have magnitudes, at first the lengths of the weight's rows
};

/// Adds adapters (A Kaiming-uniform from `seed`, B zero, as PEFT does) and freezes all else but modules_to_save. Throws
/// UserError where a target names no module.
void add_lora(Decoder& decoder, const LoraConfig& config, uint64_t seed);
/// Adapters and modules that are trained whole, under PEFT's names
/// ("base_model.model.model.layers.0.self_attn.q_proj.lora_A.weight").
std::map<std::string, Tensor> peft_tensors(const Decoder& decoder);
/// Fills what peft_tensors() gives from PEFT-named tensors; all missing and misshapen ones are named in one UserError.
void load_peft_tensors(Decoder& decoder, const std::map<std::string, Tensor>& tensors, const std::string& where);
/// Adds every adapter to the weight that it belongs to, as PEFT's merge_and_unload does; none is left.
void merge_lora(Decoder& decoder);
/// What adapter_config.json's text says. Fields that change the computation and are not implemented are refused, in a
/// UserError that names `where`.
LoraConfig lora_config(const std::string& text, const std::string& where);
/// adapter_config.json's text.
std::string peft_config_json(const Decoder& decoder, const LoraConfig& config, const std::string& base_model);

}  // namespace rft
