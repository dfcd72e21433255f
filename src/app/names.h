#pragma once
#include <cstdint>
#include <string>

namespace rft::app {

struct NamesArguments {
  std::string from = "examples/names";  ///< surnames.txt
  std::string out;
  int64_t seed = 0;
  int64_t hidden_size = 64, layers = 3, heads = 4;
  int64_t contexts = 64;  ///< rows of contexts.jsonl
};

/// Real sequences for masked diffusion: surnames of 8 places, what is left filled with ".". train.jsonl and test.jsonl
/// (completion), contexts.jsonl (rows without a prompt), and model/, an untrained EsmForMaskedLM with its vocab.txt.
void write_names(const NamesArguments& arguments);

}  // namespace rft::app
