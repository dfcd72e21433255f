#pragma once
/// The layers of BART (Lewis et al. 2020, arXiv:1910.13461), mBART (Liu et al. 2020, arXiv:2001.08210) and Pegasus
/// (Zhang et al. 2020, arXiv:1912.08777), an encoder's and a decoder's. Rows lie end to end, without padding, in all
/// but the attention.
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "nn/key_cache.h"
#include "nn/segments.h"
#include "rft/nn/seq2seq.h"

namespace rft {

struct BartShape {
  /// Of encoder or decoder.
  struct Stack {
    int64_t layers = 0, heads = 0, inner = 0;
  };
  int64_t vocabulary = 0, width = 0;
  int64_t positions = 0;  ///< tokens of a row at most
  int64_t start = -1;     ///< decoder_start_token_id; -1 where config.json has none
  int64_t padding = -1;   ///< pad_token_id: its embedding gets no gradient where it is read
  Stack encoder, decoder;
  std::string activation;
  double scale = 1;       ///< of token embeddings
  bool pre_norm = false;  ///< layers norm what they read (mBART, Pegasus), not what they made; a norm ends the stack
  bool embedding_norm = false;  ///< embeddings are normed (BART, mBART)
  bool sinusoids = false;       ///< positions are a fixed table (Pegasus), not learned
  bool tied = false;            ///< the vocabulary's head is the embedding, unless the directory has another one

  /// `json` is config.json, `where` names it in errors. Throws UserError naming a field that would change the
  /// computation in a way that is not implemented.
  static BartShape of(const std::string& json, const std::string& where);
};

class BartStack {
 public:
  BartStack() = default;
  /// Takes all tensors of `source` ("encoder", "decoder") but the token embedding. A decoder's tokens see those before
  /// them alone, and attend to an encoder's output too.
  BartStack(const WeightSource& source, const BartShape& shape, bool decoder, const std::string& where);

  /// Embedded tokens [N, D] of an encoder's rows -> [N, D].
  Tensor encode(const Tensor& x, const std::vector<int64_t>& lengths) const;
  /// What each of a decoder's layers attends to in an encoder's output [N, D].
  std::vector<AttentionKeys> keys(const Tensor& encoded, const Segments& prompts) const;
  /// Embedded tokens [N, D] of a decoder's rows -> [N, D]. `answers`: of tokens, as many as there are of each prompt.
  Tensor decode(const Tensor& x, const std::vector<int64_t>& lengths, const Segments& answers,
                const std::vector<AttentionKeys>& prompts) const;
  /// One more token of each row: embedded [R, D] -> [R, D]. `answers`: the rows of each prompt.
  Tensor step(const Tensor& x, KeyCache& cache, const Segments& answers,
              const std::vector<AttentionKeys>& prompts) const;

 private:
  struct Attention {
    Norm norm;
    std::shared_ptr<Linear> q, k, v, out;
  };
  struct Layer {
    Attention self, cross;  ///< cross: a decoder's
    Norm norm;
    std::shared_ptr<Linear> up, down;
  };
  using SelfAttention = std::function<Tensor(size_t layer, const Tensor& x)>;

  Attention take_attention(const WeightSource& layer, const std::string& name) const;
  /// x and what `make` adds to it, normed before or after.
  Tensor with(const Norm& norm, const Tensor& x, const std::function<Tensor(const Tensor&)>& make) const;
  Tensor placed(const Tensor& x, const std::vector<int64_t>& lengths, int64_t first) const;
  Tensor run(Tensor x, const SelfAttention& self, const Segments* answers,
             const std::vector<AttentionKeys>* prompts) const;
  AttentionKeys keys_of(const Attention& attention, const Tensor& x, const Segments& rows) const;
  Tensor among_themselves(const Attention& attention, const Tensor& x, const Segments& rows,
                          const Tensor& to_come) const;
  double score_scale() const;

  BartShape shape_;
  BartShape::Stack size_;
  std::string where_;
  bool decoder_ = false;
  Tensor positions_;
  int64_t first_position_ = 0;  ///< the table's row of a first token
  std::vector<Layer> layers_;
  Norm embedding_norm_, last_norm_;
};

}  // namespace rft
