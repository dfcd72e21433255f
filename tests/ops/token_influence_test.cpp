/// What tokens do to right ones through the head, against the sum over pairs that it stands for, and against the change
/// of log-probabilities that it predicts.
#include "rft/ops/token_influence.h"

#include <ATen/ATen.h>
#include <ATen/CPUGeneratorImpl.h>
#include <torch/csrc/autograd/autograd.h>

#include "rft/ops/linear_logp.h"
#include "support.h"

namespace rft::token_influence_test {
namespace {

struct Tokens {
  Tensor hidden, weight, target, right;
};

Tokens tokens_of(int64_t count, int64_t width, int64_t vocabulary) {
  at::Generator g = at::detail::createCPUGenerator(3);
  auto noise = [&](std::vector<int64_t> shape) { return at::randn(shape, g, at::TensorOptions().dtype(at::kDouble)); };
  Tokens out{noise({count, width}), noise({vocabulary, width}), at::randint(vocabulary, {count}, g, at::kLong), {}};
  out.right = at::arange(count).remainder(3).ne(1);
  return out;
}

TEST(TokenInfluence, IsTheSumOverPairs) {
  auto [hidden, weight, target, right] = tokens_of(11, 5, 7);
  // deng2025: alpha = <e_y - p, e_y' - p'>, times the hidden states' inner product, over the right answers' tokens.
  Tensor error = at::one_hot(target, 7).to(at::kDouble).sub(at::softmax(hidden.matmul(weight.t()), 1));
  Tensor pairs = error.matmul(error.t()).mul(hidden.matmul(hidden.t()));
  Tensor expected = pairs.mul(right.to(at::kDouble).unsqueeze(0)).sum(1);
  Tensor got = ops::token_influence(hidden, weight, target, right);
  EXPECT_TRUE(got.allclose(expected, 1e-12, 1e-12)) << got << expected;
  Tensor single = ops::token_influence(hidden.to(at::kFloat), weight.to(at::kFloat), target, right);
  EXPECT_TRUE(single.to(at::kDouble).allclose(expected, 1e-4, 1e-4));
}

TEST(TokenInfluence, IsHowATokenRisesWithTheRightOnesGradient) {
  auto [hidden, weight, target, right] = tokens_of(9, 4, 300'000);  // several tiles
  for (auto [temperature, softcap] : {std::pair{1.0, 0.0}, {0.7, 1.5}}) {
    auto logp = [&](const Tensor& w) { return ops::linear_logp(hidden, w, target, temperature, false, softcap).logp; };
    Tensor leaf = weight.clone().set_requires_grad(true);
    Tensor towards = torch::autograd::grad({logp(leaf).masked_select(right).sum()}, {leaf})[0];
    const double step = 1e-5;
    Tensor expected = logp(weight.add(towards, step)).sub(logp(weight.sub(towards, step))).div(2 * step);
    Tensor got = ops::token_influence(hidden, weight, target, right, temperature, softcap);
    EXPECT_TRUE(got.allclose(expected, 1e-5, 1e-6)) << got << expected;
  }
  EXPECT_EQ(ops::token_influence(hidden, weight, target, at::zeros({9}, at::kBool)).abs().max().item<double>(), 0);
}

}  // namespace
}  // namespace rft::token_influence_test
