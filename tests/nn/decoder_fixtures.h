#pragma once
/// The checkpoints that tests/parity/make_decoders.py wrote, and what transformers computed from them.
#include <ATen/ATen.h>

#include <map>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "nn/decoder_layout.h"
#include "rft/io/hf_directory.h"
#include "rft/nn/decoder.h"
#include "rft/ops/linear_logp.h"
#include "support.h"

namespace rft::testing {

using TokenRows = std::vector<std::vector<int64_t>>;

inline const std::vector<std::string> kCheckpoints = {
    "qwen2_tied",        "qwen3_untied", "llama3_rope", "llama_biases", "gpt2",          "qwen2_sharded",
    "llama_bf16",        "mistral",      "mixtral",     "qwen3_moe",    "gemma2",        "phi3",
    "qwen3_moe_plain",   "gemma3",       "olmo2",       "smollm3",      "phi3_longrope", "llama_dynamic",
    "qwen3_sliding_yarn"};

inline std::string decoder_path(const std::string& name) { return fixture("parity/data/decoders/" + name); }

inline nlohmann::json read_json(const std::string& file) { return nlohmann::json::parse(read_file(file)); }

inline DecoderConfig config_of(const std::string& name) {
  std::string file = decoder_path(name) + "/config.json";
  return DecoderConfig::from_json(read_file(file), file);
}

inline Decoder load_decoder(const std::string& name, at::ScalarType dtype) {
  return Decoder(config_of(name), load_hf_tensors(decoder_path(name)), dtype, decoder_path(name));
}

struct Expected {
  TokenRows rows;
  Tensor logp32, logp64;                                 ///< [tokens but each row's first] float64
  std::map<std::string, std::vector<double>> gradients;  ///< by Hugging Face name; see projections()
};

inline Tensor flat(const nlohmann::json& lists) {
  std::vector<double> out;
  for (const auto& list : lists)
    for (double value : list) out.push_back(value);
  return at::tensor(out, at::kDouble);
}

inline Expected expected_of(const std::string& name) {
  auto json = read_json(decoder_path(name) + "/expected.json");
  return {json["rows"], flat(json["logp32"]), flat(json["logp64"]), json["gradients"]};
}

inline Packed pack(const TokenRows& rows) {
  Packed out;
  std::vector<int64_t> ids;
  for (const auto& row : rows) {
    ids.insert(ids.end(), row.begin(), row.end());
    out.lengths.push_back(static_cast<int64_t>(row.size()));
  }
  out.ids = at::tensor(ids, at::kLong);
  return out;
}

/// Log-probability of every token but each row's first, [n].
inline Tensor log_probabilities(const Decoder& decoder, const TokenRows& rows, Decoder::Forward options = {}) {
  std::vector<int64_t> at, target;
  int64_t start = 0;
  for (const auto& row : rows) {
    for (size_t t = 1; t < row.size(); ++t) at.push_back(start + static_cast<int64_t>(t) - 1), target.push_back(row[t]);
    start += static_cast<int64_t>(row.size());
  }
  auto hidden = decoder.forward(pack(rows), options).index_select(0, at::tensor(at, at::kLong));
  return ops::linear_logp(hidden, decoder.weights(options.adapters).head, at::tensor(target, at::kLong), 1.0, false,
                          decoder.config().logit_softcap)
      .logp;
}

/// sum_i g_i cos(i) and sum_i g_i sin(i / 2) over the flat tensor.
inline std::vector<double> projections(const Tensor& gradient) {
  auto flat = gradient.to(at::kDouble).contiguous().flatten();
  auto i = at::arange(flat.numel(), at::kDouble);
  return {flat.dot(i.cos()).item<double>(), flat.dot(i.div(2).sin()).item<double>()};
}

inline double largest_difference(const Tensor& a, const Tensor& b) {
  return a.detach().to(at::kDouble).sub(b.detach().to(at::kDouble)).abs().max().item<double>();
}

inline void expect_projections(const std::vector<double>& got, const std::vector<double>& expected, double tolerance,
                               const std::string& name) {
  for (size_t i = 0; i < expected.size(); ++i)
    EXPECT_NEAR(got.at(i), expected[i], tolerance * std::max(1.0, std::abs(expected[i]))) << name;
}

}  // namespace rft::testing
