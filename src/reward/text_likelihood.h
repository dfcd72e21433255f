#pragma once
/// How likely a language model finds texts that follow others.
#include <memory>
#include <string>
#include <vector>

#include "rft/nn/decoder.h"

namespace rft {

/// What a language model is asked: tokens that follow others.
struct Continuation {
  std::vector<int64_t> before;  ///< at least one token
  std::vector<int64_t> tokens;  ///< at least one token
  int64_t size() const { return static_cast<int64_t>(before.size() + tokens.size()); }
};

/// Reads a Hugging Face directory of a decoder, frozen, on the CPU: one with a score head where `scores`, else with a
/// vocabulary's. Throws UserError where it is none.
std::unique_ptr<Decoder> load_frozen(const std::string& path, const std::string& dtype, bool scores);

/// Adds the first of `ends` (end_ids()) to `tokens` unless they end with one of them.
void end_text(std::vector<int64_t>& tokens, const std::vector<int64_t>& ends);

/// The summed log-probability of each continuation's tokens, nats, in their order. At most `together` tokens are
/// computed at once (a longer text alone), those of like length beside each other. Without gradients.
std::vector<double> summed_logp(const Decoder& model, const std::vector<Continuation>& texts, int64_t together);

}  // namespace rft
