#include <ATen/ATen.h>
#include <ATen/Parallel.h>

#include <algorithm>
#include <cstdio>

#include "app/bench.h"
#include "rft/core/clock.h"
#include "rft/core/rng.h"
#include "rft/nn/decoder.h"
#include "rft/ops/linear_logp.h"

namespace rft::app {
namespace {

constexpr char kConfig[] =
    R"({"architectures": ["Qwen3ForCausalLM"], "model_type": "qwen3", "vocab_size": 512, "hidden_size": 128,
  "intermediate_size": 320, "num_hidden_layers": 4, "num_attention_heads": 4, "num_key_value_heads": 4, "head_dim": 32,
  "max_position_embeddings": 256, "tie_word_embeddings": false, "rms_norm_eps": 1e-6, "rope_theta": 10000.0})";

Packed random_rows(int64_t rows, int64_t shortest, int64_t longest, int64_t vocabulary) {
  Rng rng(1);
  Packed out;
  std::vector<int64_t> ids;
  for (int64_t b = 0; b < rows; ++b) {
    out.lengths.push_back(shortest + static_cast<int64_t>(rng.below(b, longest - shortest + 1)));
    for (int64_t t = 0; t < out.lengths.back(); ++t)
      ids.push_back(static_cast<int64_t>(rng.below(1000 * (b + 1) + t, vocabulary)));
  }
  out.ids = at::tensor(ids, at::kLong);
  return out;
}

}  // namespace

void bench_train() {
  auto decoder = random_decoder(DecoderConfig::from_json(kConfig, "bench"), at::kFloat, 0);
  int64_t weights = 0;
  for (auto& [name, value] : decoder.weights().named()) value.requires_grad_(true), weights += value.numel();
  Packed rows = random_rows(64, 32, 40, 512);
  std::vector<double> seconds;
  for (int repeat = 0; repeat < 15; ++repeat) {
    Clock clock;
    auto hidden = decoder.forward(rows, {});
    ops::linear_logp(hidden, decoder.weights().head, rows.ids, 1.0, true).logp.mean().backward();
    if (repeat >= 3) seconds.push_back(clock.seconds());
  }
  std::nth_element(seconds.begin(), seconds.begin() + seconds.size() / 2, seconds.end());
  double median = seconds[seconds.size() / 2], tokens = static_cast<double>(rows.ids.numel());
  // 2 products of 2 operations a weight forward, twice that backward; the embedding table takes part in none.
  double flops = 6.0 * static_cast<double>(weights - decoder.weights().token_embedding.numel()) * tokens;
  std::printf("train, forward and backward, float32, %d threads\n", at::get_num_threads());
  std::printf("  %-34s %10s %14s %12s\n", "", "ms", "tokens/s", "GFLOP/s");
  std::printf("  %4.2f M weights, 64 rows of 32 to 40 %10.1f %14.0f %12.1f\n", static_cast<double>(weights) / 1e6,
              median * 1e3, tokens / median, flops / median / 1e9);
}

}  // namespace rft::app
