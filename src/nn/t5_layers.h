#pragma once
/// The layers of T5 (Raffel et al. 2020, arXiv:1910.10683), an encoder's and a decoder's: transformers' T5Stack, and
/// those of mT5 (Xue et al. 2021, arXiv:2010.11934) and UMT5 (Chung et al. 2023, arXiv:2304.09151), in which every
/// layer has biases of its own. Rows lie end to end, without padding, in all but the attention.
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "nn/key_cache.h"
#include "nn/segments.h"
#include "rft/nn/seq2seq.h"

namespace rft {

struct T5Shape {
  int64_t vocabulary = 0, width = 0, head_dim = 0, inner = 0, layers = 0, decoder_layers = 0, heads = 0;
  int64_t buckets = 0, farthest = 0;  ///< of the distances between two tokens
  int64_t start = -1;                 ///< decoder_start_token_id; -1 where config.json has none
  double eps = 0;
  std::string activation;
  bool gated = false;
  bool own_distances = false;  ///< every layer has its own biases, not the first one for all (UMT5)
  bool tied = false;           ///< the vocabulary's head is the embedding, unless the directory has another one
  bool scaled = false;         ///< the head reads states that are multiplied by width^-0.5

  /// `json` is config.json, `where` names it in errors. Throws UserError naming a field that would change the
  /// computation in a way that is not implemented.
  static T5Shape of(const std::string& json, const std::string& where);
};

class T5Stack {
 public:
  T5Stack() = default;
  /// Takes all tensors of `source` ("encoder", "decoder"). A decoder's tokens see those before them alone, and attend
  /// to an encoder's output too.
  T5Stack(const WeightSource& source, const T5Shape& shape, bool decoder, const std::string& where);

  /// Embedded tokens [N, D] of an encoder's rows -> [N, D] after the final norm. `penultimate`, where not null, becomes
  /// the last layer's input.
  Tensor encode(const Tensor& x, const Segments& rows, Tensor* penultimate = nullptr) const;

  /// What each of a decoder's layers attends to in an encoder's output [N, D].
  std::vector<AttentionKeys> keys(const Tensor& encoded, const Segments& prompts) const;
  /// Embedded tokens [N, D] of a decoder's rows -> [N, D]. `answers`: of tokens, not rows, as many as there are of each
  /// prompt.
  Tensor decode(const Tensor& x, const Segments& rows, const Segments& answers,
                const std::vector<AttentionKeys>& prompts) const;

  /// One more token of each row: embedded [R, D] -> [R, D]. `answers`: the rows of each prompt.
  Tensor step(const Tensor& x, KeyCache& cache, const Segments& answers,
              const std::vector<AttentionKeys>& prompts) const;

 private:
  struct Attention {
    Norm before;
    std::shared_ptr<Linear> q, k, v, out;
  };
  struct Block {
    Attention self, cross;  ///< cross: a decoder's
    Norm before;
    std::shared_ptr<Linear> up, gate, down;  ///< gate: where the shape says so
  };
  /// What a layer's self-attention makes of its normed input [N, D]: [N, heads * head_dim].
  using SelfAttention = std::function<Tensor(size_t layer, const Tensor& normed)>;

  Attention take_attention(const WeightSource& layer, const std::string& name) const;
  Block take_block(const WeightSource& block) const;
  Tensor run(Tensor x, const SelfAttention& self, const Segments* answers, const std::vector<AttentionKeys>* prompts,
             Tensor* penultimate) const;
  Tensor among_themselves(const Tensor& x, const Segments& rows, const Segments* answers,
                          const std::vector<AttentionKeys>* prompts, Tensor* penultimate) const;
  Tensor dense(const Block& block, const Tensor& x) const;
  Tensor heads(const Linear& linear, const Tensor& x, const Segments& rows) const;
  AttentionKeys keys_of(const Attention& attention, const Tensor& x, const Segments& rows) const;
  /// What each layer adds to its scores.
  std::vector<Tensor> biases(int64_t first, int64_t queries, int64_t keys) const;

  T5Shape shape_;
  bool decoder_ = false;
  std::string where_;
  std::vector<Tensor> distances_;  ///< [buckets, heads]: what is added to a score; of every layer, or of all
  std::vector<Block> blocks_;
  Norm norm_;
};

}  // namespace rft
