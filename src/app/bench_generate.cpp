#include <ATen/ATen.h>
#include <ATen/Parallel.h>

#include <algorithm>
#include <atomic>
#include <cstdio>
#include <iostream>
#include <numeric>

#include "app/bench.h"
#include "rft/core/clock.h"
#include "rft/core/device.h"
#include "rft/core/error.h"
#include "rft/io/files.h"
#include "rft/io/hf_directory.h"
#include "rft/io/safetensors.h"
#include "rft/policy/lm_engine.h"
#include "rft/policy/lm_sampler.h"

namespace rft::app {
namespace {

/// GB/s at which all threads together read memory that no cache holds.
double read_bandwidth() {
  constexpr int64_t kWords = int64_t{1} << 26;  // 512 MiB
  static const std::vector<uint64_t> memory(kWords, 1);
  double best = 0;
  for (int repeat = 0; repeat < 5; ++repeat) {
    const Clock clock;
    std::atomic<uint64_t> total{0};
    at::parallel_for(0, kWords / 8, 1, [&](int64_t first, int64_t last) {
      // Eight streams: one alone does not keep enough reads under way.
      const int64_t share = last - first;
      const uint64_t* from = memory.data() + first * 8;
      uint64_t sums[8] = {};
      for (int64_t i = 0; i < share; i += 8) {
        for (int64_t s = 0; s < 8; ++s) {
          const uint64_t* line = from + s * share + i;
          for (int64_t j = 0; j < std::min<int64_t>(8, share - i); ++j) sums[s] += line[j];
        }
      }
      total += std::accumulate(sums, sums + 8, uint64_t{0});
    });
    const double elapsed = clock.seconds();
    if (total != kWords) run_failed("bench", "the memory read back differently");
    best = std::max(best, kWords * 8 / elapsed / 1e9);
  }
  return best;
}

std::vector<int64_t> prompt_of(int64_t row, int64_t tokens, int64_t vocab_size) {
  std::vector<int64_t> ids(static_cast<size_t>(tokens));
  for (int64_t t = 0; t < tokens; ++t) ids[static_cast<size_t>(t)] = (7 * row + 13 * t + 1) % vocab_size;
  return ids;
}

/// Seconds of one greedy run over rows of unequal lengths: one that ends gives its place to the next.
double run_ragged(const Decoder& decoder, const GenerateBench& o) {
  const Clock clock;
  LmEngine engine(decoder, nullptr, o.batch);
  std::vector<std::shared_ptr<LmRequest>> requests;
  for (int64_t row = 0; row < 4 * o.batch; ++row) {
    auto request = std::make_shared<LmRequest>();
    request->prompt = prompt_of(row, std::max<int64_t>(1, o.prompt_tokens >> (row % 3)), decoder.config().vocab_size);
    request->options.max_new_tokens = std::max<int64_t>(1, o.new_tokens >> (row % 5));
    request->greedy = true;
    engine.add(request);
    requests.push_back(std::move(request));
  }
  while (engine.step()) {
  }
  const double seconds = clock.seconds();
  for (const auto& request : requests) {
    if (static_cast<int64_t>(request->rows.at(0).ids.size()) != request->options.max_new_tokens)
      run_failed("bench", "a row ended early");
  }
  return seconds;
}

/// Seconds of one greedy run over `batch` different prompts.
double run_once(const Decoder& decoder, const GenerateBench& o) {
  if (o.ragged) return run_ragged(decoder, o);
  std::vector<std::vector<int64_t>> prompts;
  for (int64_t b = 0; b < o.batch; ++b) {
    prompts.push_back(prompt_of(b, o.prompt_tokens, decoder.config().vocab_size));
  }
  SamplerOptions options;
  options.max_new_tokens = o.new_tokens;
  options.batch_size = o.batch;
  const Clock clock;
  sample_rows(decoder, nullptr, prompts, 1, 0, true, options);
  return clock.seconds();
}

Decoder million_parameter_model() {
  const std::string json =
      R"({"architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_act": "silu", "vocab_size": 512,
          "hidden_size": 128, "intermediate_size": 384, "num_hidden_layers": 4, "num_attention_heads": 4,
          "num_key_value_heads": 4, "max_position_embeddings": 512, "rms_norm_eps": 1e-6, "rope_theta": 10000.0,
          "tie_word_embeddings": true})";
  return random_decoder(DecoderConfig::from_json(json, "bench"), at::kFloat, 0);
}

void answer_stdin(const GenerateBench& options) {
  const std::string file = options.model + "/config.json";
  const at::Device device = device_of(options.kept.device, "--device");
  const std::string& dtype = options.kept.dtype;
  const auto type = dtype == "bfloat16" ? at::kBFloat16 : dtype == "float64" ? at::kDouble : at::kFloat;
  Decoder decoder(DecoderConfig::from_json(read_text(file), file), load_hf_tensors(options.model),
                  at::TensorOptions().dtype(type).device(device), options.model,
                  DecoderReading{options.kept.quantize, release_pages});
  std::printf("ready\n");
  std::fflush(stdout);
  for (std::string line; std::getline(std::cin, line);) {
    std::printf("%.9f\n", line == "read" ? read_bandwidth() : run_once(decoder, options));
    std::fflush(stdout);
  }
}

}  // namespace

void bench_generate(const GenerateBench& options) {
  if (!options.model.empty()) return answer_stdin(options);
  const Decoder decoder = million_parameter_model();
  std::printf("%-44s %8s %12s\n", "generate (4 layers, d = 128, float32)", "ms", "tokens/s");
  for (int64_t batch : {1, 8, 64}) {
    GenerateBench one;
    one.batch = batch, one.prompt_tokens = 16;
    double best = 1e9;
    for (int repeat = 0; repeat < 5; ++repeat) best = std::min(best, run_once(decoder, one));
    std::printf("%3ld completions of %ld tokens %17s %8.2f %12.0f\n", long{batch}, long{one.new_tokens}, "", best * 1e3,
                static_cast<double>(batch * one.new_tokens) / best);
  }
  std::printf("read bandwidth, %d threads: %.1f GB/s\n", at::get_num_threads(), read_bandwidth());
}

}  // namespace rft::app
