#include "app/names.h"

#include <algorithm>
#include <cstdio>
#include <sstream>
#include <vector>

#include "rft/core/error.h"
#include "rft/core/rng.h"
#include "rft/io/files.h"
#include "rft/io/hf_directory.h"
#include "rft/nn/token_denoiser.h"

namespace rft::app {
namespace {

constexpr size_t kPlaces = 8;
constexpr size_t kTestEvery = 16;

std::vector<std::string> read_names(const std::string& directory) {
  std::istringstream lines(read_text(directory + "/surnames.txt", 1 << 22));
  std::vector<std::string> out;
  for (std::string line; std::getline(lines, line);) {
    bool letters = std::all_of(line.begin(), line.end(), [](char c) { return c >= 'A' && c <= 'Z'; });
    if (line.empty() || line.size() > kPlaces || !letters)
      bad_input(cat(directory, "/surnames.txt:", out.size() + 1), "a name has 1 to ", kPlaces, " letters A to Z; got '",
                line, "'");
    out.push_back(line + std::string(kPlaces - line.size(), '.'));
  }
  if (out.size() <= kTestEvery) bad_input(directory, "surnames.txt must have more than ", kTestEvery, " names");
  return out;
}

/// "<pad>", ".", the letters, "<mask>".
std::string vocabulary() {
  std::string out = "<pad>\n.\n";
  for (char letter = 'A'; letter <= 'Z'; ++letter) out += cat(letter, "\n");
  return out + "<mask>\n";
}

std::string model_config(const NamesArguments& arguments) {
  int64_t width = arguments.hidden_size;
  return cat(R"({
  "architectures": ["EsmForMaskedLM"],
  "attention_probs_dropout_prob": 0.0,
  "emb_layer_norm_before": false,
  "hidden_dropout_prob": 0.0,
  "hidden_size": )",
             width, ",\n  \"intermediate_size\": ", 2 * width, R"(,
  "layer_norm_eps": 1e-05,
  "mask_token_id": 28,
  "max_position_embeddings": )",
             kPlaces, R"(,
  "model_type": "esm",
  "num_attention_heads": )",
             arguments.heads, ",\n  \"num_hidden_layers\": ", arguments.layers, R"(,
  "pad_token_id": 0,
  "position_embedding_type": "rotary",
  "token_dropout": false,
  "vocab_size": 29
}
)");
}

}  // namespace

void write_names(const NamesArguments& arguments) {
  auto names = read_names(arguments.from);
  std::string directory = arguments.out + "/model", train, test, contexts;
  make_directories(directory);
  for (size_t i = 0; i < names.size(); ++i)
    (i % kTestEvery == kTestEvery - 1 ? test : train) += cat("{\"completion\": \"", names[i], "\"}\n");
  for (int64_t i = 0; i < arguments.contexts; ++i) contexts += "{\"prompt\": \"\"}\n";
  write_text(arguments.out + "/train.jsonl", train), write_text(arguments.out + "/test.jsonl", test);
  write_text(arguments.out + "/contexts.jsonl", contexts);
  std::string config = model_config(arguments);
  auto source = WeightSource::random(at::kFloat, static_cast<uint64_t>(arguments.seed));
  auto model = make_token_denoiser(config, source, directory);
  write_text(directory + "/config.json", config), write_text(directory + "/vocab.txt", vocabulary());
  const auto& tensors = model->weights().tensors;
  save_hf_tensors(directory, {tensors.begin(), tensors.end()});
  std::printf("%s: %zu surnames of %zu places and an untrained masked language model\n", arguments.out.c_str(),
              names.size(), kPlaces);
}

}  // namespace rft::app
