#pragma once
/// Samples completions from an encoder-decoder model on the CPU, on the trainer's own weights: a prompt is read once,
/// what the decoder sees of it is shared by the rows that answer it, and each row keeps its keys and values.
#include <optional>
#include <vector>

#include "rft/nn/seq2seq.h"
#include "rft/policy/lm_sampler.h"

namespace rft {

/// As sample_rows() of a Decoder: row i answers prompts[i / group_size] (the encoder's ids, end token included), and
/// its draw at position t depends on (seed, first_row + i, t) alone. The repetition penalty applies to the completion's
/// tokens and the decoder's start token, as in transformers. Where `first_id` is given each row begins with it, with
/// log-probability 0. Rows are decoded a batch at a time; those that end leave it. Throws UserError naming the first
/// prompt that is empty, longer than the model's positions or holds an id outside the vocabulary, and where
/// max_new_tokens is above them; RunError where logits are not finite.
std::vector<SampledRow> sample_rows(const Seq2Seq& model, const Tokenizer* tokenizer,
                                    const std::vector<std::vector<int64_t>>& prompts, int64_t group_size, uint64_t seed,
                                    bool greedy, const SamplerOptions& options, const SamplerProgress& progress = {},
                                    std::optional<int64_t> first_id = {});

}  // namespace rft
