#pragma once
/// The built-in benchmarks (`rft bench NAME`).
#include <cstdint>
#include <string>

#include "app/model_options.h"

namespace rft::app {

struct GenerateBench {
  std::string model;  ///< a Hugging Face directory; "" = a table of built-in shapes
  int64_t batch = 8, prompt_tokens = 32, new_tokens = 32;
  bool ragged = false;  ///< four times as many rows as are decoded at once, of unequal lengths
  ModelOptions kept;
};

/// Decoding speed, greedy. Without a model, on the CPU: 64 completions of a one-million-parameter model with
/// random weights, and the machine's read bandwidth, as a table on stdout. With one: prints "ready", then answers every
/// line of stdin, `run` with the seconds of one run and `read` with the read bandwidth in GB/s
/// (benchmarks/generate.py).
void bench_generate(const GenerateBench& options = {});

/// Forward and backward of a model of about a million weights over ragged rows, as a table on stdout.
void bench_train();

struct EnvironmentBench {
  std::string task = "hopper";
  int64_t environments = 16;
  double seconds = 3;
};

/// Steps a second of environments side by side under random actions, new episodes included, on stdout.
void bench_environment(const EnvironmentBench& options = {});

}  // namespace rft::app
