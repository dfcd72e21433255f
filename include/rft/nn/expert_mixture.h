#pragma once
/// A reward model that is a mixture of LoRA experts: the inner layer of DMoERM (Quan 2024, arXiv:2403.01197).
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "rft/nn/decoder.h"

namespace rft {

/// K experts, each a set of adapters of its own on one frozen decoder, read a text, and a perceptron makes a score of
/// what they have at its last token, h_k [D]:
///   score = w2 PReLU(W1 [h_1; ..; h_K] + b1) + b2,   W1 [D, K D], w2 [1, D]
/// as the author's code has it (github.com/quanshr/DMoERM, innermoe/modeling.py): the slope of PReLU is one number,
/// 0.25 at first, linear layers begin as PyTorch's do, uniform within 1 / sqrt(inputs), and the experts' own scores are
/// not read. Only the perceptron has gradients.
class ExpertMixture {
 public:
  /// What a PEFT adapter directory holds.
  struct Expert {
    LoraConfig config;
    std::map<std::string, Tensor> tensors;
    std::string where;  ///< for messages
  };
  /// The experts share the weights of `base`, which has no adapters and a score head of one label. Throws UserError
  /// where it has none, there is no expert, or one doesn't fit.
  ExpertMixture(const Decoder& base, const std::vector<Expert>& experts, uint64_t seed);

  /// [M] float32 (float64 for float64): the score at the tokens `index` [M] int64 of the packed rows.
  Tensor scores(const Packed& rows, const Tensor& index) const;
  /// The perceptron's tensors: hidden.weight, hidden.bias, slope, score.weight, score.bias.
  std::vector<std::pair<std::string, Tensor>> named() const;
  /// Sets them. Throws UserError naming `where` where one is missing or of another shape.
  void load(const std::map<std::string, Tensor>& tensors, const std::string& where);

 private:
  std::vector<Decoder> experts_;
  Linear hidden_, score_;
  Tensor slope_;  ///< [1]
};

}  // namespace rft
