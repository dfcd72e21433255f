#pragma once
/// The critic of a language model: what return it expects at each decision.
#include <map>
#include <string>
#include <vector>

#include "rft/core/parameter.h"
#include "rft/nn/layers.h"

namespace rft {

/// One number of each hidden state, as the head of TRL's AutoModelForCausalLMWithValueHead (v_head.summary).
class ValueHead {
 public:
  /// A head of `hidden_size` inputs: normal weights of deviation 1 / sqrt(hidden_size + 1) from `seed`, bias 0; of the
  /// dtype and on the device that `options` name.
  ValueHead(int64_t hidden_size, const at::TensorOptions& options, uint64_t seed);
  /// hidden [M, D] -> [M] float32 (float64 for float64).
  Tensor values(const Tensor& hidden) const;
  /// In the group of critics, under names that start with `prefix`.
  void add_parameters(std::vector<Parameter>& out, const std::string& prefix) const;

  /// value_head.safetensors in `directory`. load() leaves the head as it is where there is no such file.
  void save(const std::string& directory) const;
  void load(const std::string& directory);

 private:
  Linear linear_;
};

}  // namespace rft
