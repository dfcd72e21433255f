#pragma once
/// Scores of texts by a decoder with a score head.
#include <memory>

#include "rft/nn/decoder.h"

namespace rft {

/// [M] float32 (float64 for float64): the score at the tokens `index` [M] int64 of the packed rows, each at most once:
/// of one label its logit, of two the second's less the first's. Throws RunError for other heads.
Tensor text_scores(const Decoder& model, const Packed& rows, const Tensor& index, const Decoder::Forward& options = {});

/// The same trunk with a new score head, normal weights of the model's initializer_range from `seed`; the head of
/// sequence classification has one label, that of every token two.
std::unique_ptr<Decoder> with_new_score_head(const Decoder& model, bool every_token, int64_t pad_id,
                                             at::ScalarType dtype, uint64_t seed);

}  // namespace rft
