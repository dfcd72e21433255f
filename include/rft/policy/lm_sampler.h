#pragma once
/// Samples completions from a Decoder on the CPU, on the trainer's own weights: paged key/value cache, prompts computed
/// once a group, finished rows replaced at once by waiting ones.
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "rft/core/pattern.h"
#include "rft/nn/decoder.h"
#include "rft/policy/samples_pieces.h"
#include "rft/text/tokenizer.h"

namespace rft {

/// A second model that has a say in what is drawn, on the CPU: from p^(1 - share) q^share, p the sampling model's
/// probabilities and q the guide's (a geometric mixture, token by token: Nash-MD's, Munos et al. 2023,
/// arXiv:2312.00886), of the tokens that make up `top_p` of q (action masks: NLPO, Ramamurthy et al. 2022,
/// arXiv:2210.01241). Under a mask a token's log-probability is that among the tokens that it leaves.
struct Guide {
  const Decoder* decoder = nullptr;  ///< of the same vocabulary, at the same prompts; outlives the sampling; null: none
  double share = 0, top_p = 1;
};

struct SamplerOptions {
  int64_t max_new_tokens = 512;
  double temperature = 1;  ///< 0 = greedy
  double top_p = 1;
  int64_t top_k = 0;  ///< 0 = off
  double min_p = 0;
  double repetition_penalty = 1;  ///< applies to the prompt's and the completion's tokens
  int64_t batch_size = 0;         ///< rows decoded at once; 0 = up to 64, as 2 GiB of keys and values allow
  std::vector<int64_t> eos_ids;
  std::vector<std::string> stop;  ///< texts that end a row, found in its decoded text, also across token borders
  /// The text of a row matches it, on the CPU: what can't begin such a text is never drawn, and a row that can't go on
  /// ends without an eos. Filters see what is left.
  std::optional<GrowingPattern> pattern;
  Guide guide;
  bool entropy = false;
  int64_t first_row = 0;  ///< added to a row's number where its draws are made
};

struct SampledRow {
  std::vector<int64_t> ids;  ///< the eos token, or the token that completes a stop text, included
  std::vector<float> logp;   ///< nats; the model's temperature-scaled distribution before filters and guide, but under
                             ///< the guide's mask (temperature 0: under 1)
  std::vector<float> entropy;  ///< of the same distribution; empty unless asked for
  bool truncated = false;      ///< ended by max_new_tokens, or no token of the vocabulary goes on with the pattern
  std::string stop;            ///< the stop text that ended it, or ""
};

/// The text of ids, special tokens left out, and those that a model has and its tokenizer does not (a vocabulary may be
/// rounded up), as transformers leaves them out.
std::string sampled_text(const Tokenizer& tokenizer, const std::vector<int64_t>& ids);

/// Called now and then with (rows done, tokens sampled).
using SamplerProgress = std::function<void(int64_t, int64_t)>;

/// PieceWork (samples_pieces.h) of rows as the sampler makes them.
struct RowWork {
  std::function<std::optional<Piece>()> next;
  std::function<void(const Piece& piece, std::vector<SampledRow> rows)> finished;
  int64_t rows_at_once = 0;
};

/// Row i answers prompts[i / group_size], and its draw at position t depends on (seed, first_row + i, t) alone.
/// `greedy` takes the likeliest token whatever the temperature. `tokenizer` is read for stop texts and patterns
/// only, and may be null without them. Throws UserError naming the first prompt that is empty, holds an id outside the
/// vocabulary, or leaves no room for max_new_tokens; RunError where logits are not finite. Needs no gradient mode: it
/// records nothing.
std::vector<SampledRow> sample_rows(const Decoder& decoder, const Tokenizer* tokenizer,
                                    const std::vector<std::vector<int64_t>>& prompts, int64_t group_size, uint64_t seed,
                                    bool greedy, const SamplerOptions& options, const SamplerProgress& progress = {});

/// The same of the pieces of `prompts` that `work` hands out.
void sample_row_pieces(const Decoder& decoder, const Tokenizer* tokenizer,
                       const std::vector<std::vector<int64_t>>& prompts, int64_t group_size, uint64_t seed, bool greedy,
                       const SamplerOptions& options, const RowWork& work, const SamplerProgress& progress = {});

}  // namespace rft
