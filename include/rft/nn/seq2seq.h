#pragma once
/// Encoder-decoder language models: the encoder reads a prompt, the decoder writes an answer to it.
#include <limits>
#include <memory>
#include <string>
#include <vector>

#include "rft/nn/decoder.h"
#include "rft/nn/weights.h"

namespace rft {

/// Keys and values of P segments of up to S tokens.
struct AttentionKeys {
  Tensor k, v;    ///< [P, H, S, head_dim]
  Tensor beyond;  ///< [P, S] bool, true behind a segment's end; undefined where all are as long
};

/// P prompts, and what answers each of them.
struct Seq2SeqRows {
  Packed prompts;                ///< P rows, as the encoder reads them
  Packed answers;                ///< R rows, as the decoder reads them: its start token first
  std::vector<int64_t> samples;  ///< [P], at least 1: so many of `answers`, in their order, answer each prompt
};

/// Answers in the making, a token each a step. The model must outlive it and keep its weights.
class Seq2SeqDecoding {
 public:
  virtual ~Seq2SeqDecoding() = default;
  /// ids [R] int64, each row's latest token -> [R, D], as forward()'s: what predicts the next one.
  virtual Tensor step(const Tensor& ids) = 0;
  /// Goes on with these rows alone, ascending numbers in 0 .. R - 1, which get the numbers 0, 1, ...
  virtual void keep(const std::vector<int64_t>& rows) = 0;
};

class Seq2Seq {
 public:
  virtual ~Seq2Seq() = default;
  /// [N, D], N tokens of rows.answers: what the head multiplies to predict the token that follows each. With gradients
  /// where grad mode is on. A prompt is read once, however many answer it.
  virtual Tensor forward(const Seq2SeqRows& rows) const = 0;

  /// Of each of the decoder's layers, what it sees of the prompts.
  using Memory = std::vector<AttentionKeys>;
  virtual Memory read(const Packed& prompts) const = 0;
  /// samples [P]: so many rows, at least 1, answer each prompt of `memory`. Keeps no graph.
  virtual std::unique_ptr<Seq2SeqDecoding> decode(const Memory& memory, const std::vector<int64_t>& samples) const = 0;

  /// [V, D]: logits are states times its rows.
  virtual const Tensor& head() const = 0;
  virtual int64_t start_id() const = 0;  ///< the decoder's first token
  /// Tokens of a prompt at most, and of an answer.
  virtual int64_t max_positions() const { return std::numeric_limits<int64_t>::max(); }
  /// Numbers of keys and values that a token of an answer leaves behind in all layers.
  virtual int64_t cache_floats() const = 0;
  virtual const Weights& weights() const = 0;
  virtual const std::string& config_json() const = 0;
};

/// By `architectures` of transformers: T5ForConditionalGeneration (Raffel et al. 2020, arXiv:1910.10683; v1.1 and
/// FLAN-T5 too), MT5ForConditionalGeneration, UMT5ForConditionalGeneration, BartForConditionalGeneration (Lewis et al.
/// 2020, arXiv:1910.13461), MBartForConditionalGeneration and PegasusForConditionalGeneration. Encoder and decoder read
/// one embedding. Where the directory has an lm_head.weight that is not this embedding, it is the head, whatever
/// tie_word_embeddings says; T5's states are scaled by D^-0.5 as scale_decoder_outputs says or, without it,
/// tie_word_embeddings: both as transformers 5 reads them (which scales UMT5's always; here as tie_word_embeddings
/// says, as the published ones were trained). Throws UserError naming `where` for another architecture, a field that
/// would change the computation in a way that is not implemented, and tensors that do not fit. Dropout is none.
std::unique_ptr<Seq2Seq> make_seq2seq(const std::string& config_json, const WeightSource& source,
                                      const std::string& where);
/// Whether config.json's text names an architecture that make_seq2seq() reads.
bool is_seq2seq(const std::string& config_json, const std::string& where);
/// An untrained T5 with transformers' initial deviations (Mesh TensorFlow's): 1 for embeddings, and so that scores and
/// outputs of layers start with a variance near 1; determined by `seed`.
std::unique_ptr<Seq2Seq> random_t5(const std::string& config_json, at::ScalarType dtype, uint64_t seed);

}  // namespace rft
