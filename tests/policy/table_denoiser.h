#pragma once
/// A masked language model that is a table: it knows the probability of every sequence of 3 tokens, 0 or 1 (mask: 2),
/// and answers with the exact conditional distributions. In float64.
#include <ATen/ATen.h>

#include "rft/policy/masked_diffusion.h"

namespace rft::testing {

class TableDenoiser : public TokenDenoiser {
 public:
  static constexpr int64_t kLength = 3, kSequences = 8;
  TableDenoiser() {
    table_ = at::tensor({0.3, -1.0, 0.8, 0.1, -0.4, 1.2, -0.7, 0.5}, at::kDouble);
    weights_.tensors = {{"table", table_}};
  }
  /// Distributions over tokens may be mixtures: a masked share fits every token.
  Tensor features(const Tensor& tokens) const override {
    Tensor x = tokens.dim() == 3 ? tokens : at::one_hot(tokens, 3).to(at::kDouble);
    std::vector<Tensor> fits;  // [N, 8] a position
    Tensor sequence = at::arange(kSequences);
    for (int64_t l = 0; l < kLength; ++l) {
      Tensor token = sequence.div(int64_t{1} << (kLength - 1 - l), "floor").remainder(2);
      fits.push_back(x.select(1, l).index_select(1, token).add(x.select(1, l).narrow(1, 2, 1)));
    }
    std::vector<Tensor> answers;
    for (int64_t l = 0; l < kLength; ++l) {
      Tensor weight = table_.exp().expand({x.size(0), kSequences});
      for (int64_t other = 0; other < kLength; ++other)
        if (other != l) weight = weight.mul(fits[static_cast<size_t>(other)]);
      Tensor one = sequence.div(int64_t{1} << (kLength - 1 - l), "floor").remainder(2).to(at::kDouble);
      Tensor both = at::stack({weight.mul(one.neg().add(1)).sum(1), weight.mul(one).sum(1)}, 1).log();
      answers.push_back(at::cat({both, at::zeros({x.size(0), 1}, both.options())}, 1));
    }
    return at::stack(answers, 1);
  }
  Tensor logits(const Tensor& features) const override { return features; }
  const Weights& weights() const override { return weights_; }
  const std::string& config_json() const override { return config_; }
  int64_t vocab_size() const override { return 3; }
  int64_t mask_id() const override { return 2; }
  int64_t pad_id() const override { return -1; }
  int64_t max_length() const override { return kLength; }

 private:
  Tensor table_;
  Weights weights_;
  std::string config_ = "{}";
};

/// A policy over it with these rollout options.
inline std::unique_ptr<MaskedDiffusion> table_policy(const std::string& rollout = "{}") {
  auto policy =
      std::make_unique<MaskedDiffusion>([] { return std::make_unique<TableDenoiser>(); }, MaskedDiffusion::Options{});
  Config block = Config::parse(rollout, "rollout");
  OptionReader reader(block);
  policy->visit_rollout(reader);
  return policy;
}

}  // namespace rft::testing
