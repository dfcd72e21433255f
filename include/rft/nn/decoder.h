#pragma once
/// Decoder-only transformers (Qwen2, Qwen3, Llama, GPT-2) as one architecture described by config.json.
#include <map>
#include <string>
#include <vector>

#include "rft/nn/layers.h"

namespace rft {

/// What config.json says. An unknown architecture, or a field whose value would change the computation in a way that is
/// not implemented, is a UserError that names it.
struct DecoderConfig {
  std::string architecture;  ///< "Qwen2ForCausalLM", "Qwen3ForCausalLM", "LlamaForCausalLM", "GPT2LMHeadModel", or with
                             ///< a score head "Qwen2ForSequenceClassification", "Qwen2ForTokenClassification", ...
  std::string model_type;  ///< "qwen2", "qwen3", "llama", "gpt2"
  int64_t vocab_size = 0, hidden_size = 0, intermediate_size = 0, layers = 0;
  int64_t heads = 0, kv_heads = 0, head_dim = 0;
  int64_t max_positions = 0;  ///< longest sequence
  double norm_eps = 1e-6;
  double initializer_range = 0.02;
  bool rms_norm = true;             ///< else LayerNorm with bias
  bool rope = true;                 ///< else learned position embeddings
  bool gated_mlp = true;            ///< SwiGLU; else a plain MLP
  std::string activation = "silu";  ///< silu, gelu, gelu_new (tanh), relu
  bool qkv_bias = false, out_bias = false, mlp_bias = false, qk_norm = false;
  bool tied_head = false;
  int64_t labels = 0;  ///< outputs of a score head (a reward model), which stands in the place of the vocabulary's; 0:
                       ///< a language model
  bool head_bias = false;             ///< a score head of every token has one (token classification)
  std::vector<double> rope_inv_freq;  ///< [head_dim / 2], llama3/linear scaling applied
  std::string json;                   ///< config.json as read: written back unchanged but for dtype

  /// `text` is config.json; `where` names it in errors.
  static DecoderConfig from_json(const std::string& text, const std::string& where);
  /// The same trunk with a score head of `labels` outputs, as transformers' AutoModelForSequenceClassification (or, of
  /// every token, AutoModelForTokenClassification) writes it. `pad_id` is written where the model has none.
  DecoderConfig with_score_head(int64_t labels, bool every_token, int64_t pad_id) const;
};

struct DecoderLayer {
  Norm attention_norm, mlp_norm;
  Linear qkv;           ///< rows: heads*head_dim of q, then kv_heads*head_dim of k, then of v
  Norm q_norm, k_norm;  ///< [head_dim], where qk_norm
  Linear out;
  Linear gate_up;  ///< gated: rows intermediate of gate, then of up; else just the first MLP layer
  Linear down;
};

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

class Decoder {
 public:
  /// `tensors` are named and shaped as `save_pretrained` writes them. All missing and misshapen tensors are named in
  /// one UserError that starts with `where`. Extra tensors that are known to be derived (rotary inv_freq, attn.bias
  /// masks) are ignored; others are an error. `dtype` is what the weights are kept in.
  Decoder(DecoderConfig config, const std::map<std::string, Tensor>& tensors, at::ScalarType dtype,
          const std::string& where);

  const DecoderConfig& config() const { return config_; }
  DecoderWeights& weights() { return weights_; }
  const DecoderWeights& weights() const { return weights_; }

  /// The weights under their Hugging Face names and shapes (views or copies, on the CPU).
  std::map<std::string, Tensor> hugging_face_tensors() const;

  struct Forward {
    bool adapters = true;     ///< false: the base model, as if there were no adapters
    bool checkpoint = false;  ///< recompute each layer in the backward pass instead of keeping its activations
  };
  /// [N, D]: the hidden states after the final norm, with gradients where grad mode is on.
  Tensor forward(const Packed& rows, const Forward& options) const;

 private:
  DecoderConfig config_;
  DecoderWeights weights_;
};

/// A model with the weights transformers gives an untrained one: normal(0, initializer_range) for linear layers and
/// embeddings, zeros for biases, ones for norms; GPT-2's residual projections scaled by 1 / sqrt(2 layers).
Decoder random_decoder(const DecoderConfig& config, at::ScalarType dtype, uint64_t seed);

/// Which modules get adapters and how large they are: PEFT's LoraConfig.
struct LoraConfig {
  int64_t rank = 16;
  double alpha = 32;
  double dropout = 0;                       ///< only 0 is implemented; anything else is refused
  std::vector<std::string> target_modules;  ///< names such as "q_proj"; empty = all linear layers but the head
  bool rslora = false;                      ///< scale alpha / sqrt(rank) instead of alpha / rank
};

/// Adds adapters (A Kaiming-uniform from `seed`, B zero, as PEFT does) and freezes the base. Throws UserError where a
/// target names no module.
void add_lora(Decoder& decoder, const LoraConfig& config, uint64_t seed);
/// Adapter tensors under PEFT's names ("base_model.model.model.layers.0.self_attn.q_proj.lora_A.weight").
std::map<std::string, Tensor> peft_tensors(const Decoder& decoder);
/// Fills existing adapters from PEFT-named tensors; all missing and misshapen ones are named in one UserError.
void load_peft_tensors(Decoder& decoder, const std::map<std::string, Tensor>& tensors, const std::string& where);
/// adapter_config.json's text.
std::string peft_config_json(const Decoder& decoder, const LoraConfig& config, const std::string& base_model);

}  // namespace rft
