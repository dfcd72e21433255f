/// Log-probabilities among the tokens that another model finds likely, against the same from logits that are held
/// (NLPO, arXiv:2210.01241, algorithm 1: the policy's softmax with every token outside the mask at -inf).
#include "rft/ops/nucleus_logp.h"

#include <ATen/ATen.h>
#include <ATen/CPUGeneratorImpl.h>
#include <torch/csrc/autograd/autograd.h>

#include <limits>

#include "support.h"

namespace rft::nucleus_logp_test {
namespace {

struct Case {
  Tensor hidden, weight, target, guide_hidden, guide_weight, up, up_entropy;

  Case(int64_t rows, int64_t vocab, uint64_t seed) {
    at::Generator g = at::detail::createCPUGenerator(seed);
    auto noise = [&](std::vector<int64_t> shape) {
      return at::randn(shape, g, at::TensorOptions().dtype(at::kDouble));
    };
    hidden = noise({rows, 6}).set_requires_grad(true), weight = noise({vocab, 6}).set_requires_grad(true);
    guide_hidden = noise({rows, 4}), guide_weight = noise({vocab, 4}), up = noise({rows}), up_entropy = noise({rows});
    target = at::randint(vocab, {rows}, g, at::TensorOptions().dtype(at::kLong));
  }
};

Tensor capped(const Tensor& logits, double cap) { return cap > 0 ? logits.div(cap).tanh().mul(cap) : logits; }

/// [N, V] bool: each row's likeliest tokens, by hand, until their probability reaches top_p; and the target.
Tensor nucleus(const Tensor& logits, const Tensor& target, double top_p) {
  Tensor p = at::softmax(logits, 1), order = p.argsort(-1, /*descending=*/true);
  Tensor sorted = p.gather(1, order), before = sorted.cumsum(1).sub(sorted);
  Tensor kept = at::zeros(p.sizes(), at::kBool).scatter(1, order, before.lt(top_p));
  return kept.scatter(1, target.unsqueeze(1), true);
}

void expect_as_held(const Case& c, double top_p, double temperature, double cap, double guide_cap) {
  auto got = ops::nucleus_logp(c.hidden, c.weight, c.target, {c.guide_hidden, c.guide_weight, top_p, guide_cap},
                               temperature, true, cap);
  Tensor kept = nucleus(capped(c.guide_hidden.matmul(c.guide_weight.t()), guide_cap), c.target, top_p);
  Tensor logits = capped(c.hidden.matmul(c.weight.t()), cap).div(temperature);
  Tensor all = at::log_softmax(logits.masked_fill(kept.logical_not(), -std::numeric_limits<double>::infinity()), 1);
  Tensor logp = all.gather(1, c.target.unsqueeze(1)).squeeze(1);
  Tensor entropy =
      at::where(kept, all.exp().mul(all.masked_fill(kept.logical_not(), 0)), at::zeros({}, all.options())).sum(1).neg();
  EXPECT_TRUE(got.logp.allclose(logp, 1e-10, 1e-12));
  EXPECT_TRUE(got.entropy.allclose(entropy, 1e-10, 1e-12));
  auto a =
      torch::autograd::grad({got.logp.mul(c.up).sum().add(got.entropy.mul(c.up_entropy).sum())}, {c.hidden, c.weight});
  auto b = torch::autograd::grad({logp.mul(c.up).sum().add(entropy.mul(c.up_entropy).sum())}, {c.hidden, c.weight});
  for (int i : {0, 1}) EXPECT_TRUE(a[i].allclose(b[i], 1e-9, 1e-10)) << i;
}

TEST(NucleusLogp, HasTheValueAndGradientOfLogitsThatAreHeld) {
  Case small(9, 30, 1), tiles(70, 20000, 2);  // more rows times tokens than one tile holds
  tiles.guide_hidden.mul_(8);                 // few likely tokens: none is in or out by a rounding error
  for (double top_p : {0.3, 0.9}) {
    expect_as_held(small, top_p, 1, 0, 0);
    expect_as_held(small, top_p, 0.7, 1.5, 2);
    expect_as_held(tiles, top_p, 0.8, 0, 0);
  }
}

TEST(NucleusLogp, OfAllTokensIsThatOfTheModelAlone) {
  Case c(9, 30, 3);
  auto all = ops::nucleus_logp(c.hidden, c.weight, c.target, {c.guide_hidden, c.guide_weight, 1}, 0.7, true);
  auto alone = ops::linear_logp(c.hidden, c.weight, c.target, 0.7, true);
  EXPECT_TRUE(all.logp.allclose(alone.logp, 1e-10, 1e-12));
  EXPECT_TRUE(all.entropy.allclose(alone.entropy, 1e-10, 1e-12));
}

TEST(NucleusLogp, TokensOutsideHaveNoGradient) {
  Case c(1, 30, 4);
  Tensor kept = nucleus(c.guide_hidden.matmul(c.guide_weight.t()), c.target, 0.5)[0];
  ASSERT_FALSE(kept.all().item<bool>());
  auto got = ops::nucleus_logp(c.hidden, c.weight, c.target, {c.guide_hidden, c.guide_weight, 0.5});
  Tensor grad = torch::autograd::grad({got.logp.sum()}, {c.weight})[0];
  EXPECT_EQ(grad.index_select(0, kept.logical_not().nonzero().squeeze(1)).abs().max().item<double>(), 0);
  EXPECT_GT(grad.abs().max().item<double>(), 0);
}

TEST(NucleusLogp, ModelsThatDoNotFitAreNamed) {
  Case c(2, 30, 5);
  std::string message = testing::message_of<RunError>([&] {
    ops::nucleus_logp(c.hidden, c.weight, c.target, {c.guide_hidden, c.guide_weight.narrow(0, 0, 29), 0.5});
  });
  EXPECT_NE(message.find("30 and 29 tokens"), std::string::npos) << message;
}

}  // namespace
}  // namespace rft::nucleus_logp_test
