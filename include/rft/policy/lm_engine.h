#pragma once
/// Continuous batching: answers to any number of prompts in the making at once, a token each a step; a finished one
/// gives its place to the next, and samples of one prompt share its keys and values.
#include <functional>
#include <memory>
#include <vector>

#include "rft/nn/decoder.h"
#include "rft/policy/lm_sampler.h"

namespace rft {

/// One prompt, and how it is answered.
struct LmRequest {
  std::vector<int64_t> prompt;
  int64_t samples = 1;
  SamplerOptions options;  ///< batch_size and guide are the engine's
  uint64_t seed = 0;       ///< sample k's draw at position t depends on (seed, options.first_row + k, t) alone
  bool greedy = false;
  /// Called on the thread that steps, after each token of sample k and with `done` after its last; false ends it at
  /// once (whoever asked has gone). May be empty.
  std::function<bool(int64_t k, const SampledRow& row, bool done)> on_token;
  int64_t adapters = 0;  ///< the set of the decoder's adapters that it is answered with, on the CPU

  /// Where the samples are made.
  std::vector<SampledRow> rows = {};
};

/// Throws UserError naming `where` for a prompt that is empty, holds an id outside the vocabulary, or leaves no room
/// for max_new_tokens, and for stop texts that are empty.
void check_request(const LmRequest& request, const DecoderConfig& config, const std::string& where);

class TokenEngine;

/// Used from one thread. The decoder must outlive it and keep its weights' storage.
class LmEngine {
 public:
  /// `tokenizer` is read for stop texts only, and may be null without them. `batch_size`: samples in the making at
  /// once. Throws UserError for a guide that does not fit, or on a GPU.
  LmEngine(const Decoder& decoder, const Tokenizer* tokenizer, int64_t batch_size, const Guide& guide = {});
  ~LmEngine();

  /// Puts a request that check_request() lets pass behind those that wait.
  void add(std::shared_ptr<LmRequest> request);
  /// One forward pass: a token of every sample in the making, and some of the waiting prompts. False where there is
  /// nothing to do. Throws RunError where logits are not finite.
  bool step();
  int64_t tokens_sampled() const;
  int64_t samples_done() const;  ///< of all requests

 private:
  std::unique_ptr<TokenEngine> engine_;
  bool patterns_ = false;  ///< whether rows can be held to a pattern
};

/// On the CPU so many samples of at most `max_new_tokens` tokens as 2 GiB of keys and values hold, at most 64; on a GPU
/// 512 (the engine takes fewer where the device's memory is short).
int64_t default_batch_size(const Decoder& decoder, int64_t max_new_tokens);

}  // namespace rft
