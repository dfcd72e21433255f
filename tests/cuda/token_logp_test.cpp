// Log-probabilities from logits: the kernels against a float64 reference.
#include "rft/ops/token_logp.h"

#include "cuda/ops.h"
#include "on_device.h"
#include "rft/ops/linear_logp.h"
#include "support.h"

namespace rft::token_logp_test {
namespace {
using testing::device;
using testing::on_device;

struct Case {
  int64_t rows, vocabulary;
  at::ScalarType dtype;
};

Tensor targets(int64_t rows, int64_t vocabulary) { return at::randint(vocabulary, {rows}, at::kLong); }

double gap(const Tensor& found, const Tensor& wanted) {
  return found.to(at::kCPU, at::kDouble).sub(wanted.to(at::kDouble)).abs().max().item<double>();
}

TEST(TokenLogp, EqualsTheReference) {
  at::manual_seed(0);
  for (const Case& c : {Case{1, 1, at::kFloat},
                        {3, 2, at::kFloat},
                        {2, 37, at::kBFloat16},
                        {5, 1000, at::kHalf},
                        {2, 8192, at::kFloat},
                        {3, 8191, at::kBFloat16},
                        {1, 151936, at::kBFloat16}}) {
    SCOPED_TRACE(cat(c.rows, " x ", c.vocabulary, " ", c.dtype));
    Tensor logits = at::randn({c.rows, c.vocabulary}).mul(4).to(c.dtype), target = targets(c.rows, c.vocabulary);
    auto wanted = ops::token_logp(logits.to(at::kDouble), target, 0.7);
    auto [logp, lse, entropy] = cuda::token_logp(on_device(logits), on_device(target), 0.7);
    EXPECT_LT(gap(logp, wanted.logp), 2e-5);
    EXPECT_LT(gap(lse, wanted.lse), 2e-5);
    EXPECT_LT(gap(entropy, wanted.entropy), 5e-5);
  }
}

TEST(TokenLogp, RowsMayLieApartAndStartAnywhere) {
  at::manual_seed(1);
  Tensor all = at::randn({4, 3001}), target = targets(4, 2999);
  for (int64_t first : {0, 1, 2}) {
    Tensor logits = on_device(all).narrow(1, first, 2999);
    auto wanted = ops::token_logp(all.narrow(1, first, 2999).to(at::kDouble), target, 1);
    EXPECT_LT(gap(std::get<0>(cuda::token_logp(logits, on_device(target), 1)), wanted.logp), 2e-5) << first;
  }
}

TEST(TokenLogp, ImpossibleTokensAndUnknownTargets) {
  Tensor logits = at::zeros({3, 70});
  logits.narrow(1, 0, 40).fill_(-std::numeric_limits<float>::infinity());
  Tensor target = at::tensor({50, 70, -1}, at::kLong);
  auto [logp, lse, entropy] = cuda::token_logp(on_device(logits), on_device(target), 1);
  EXPECT_NEAR(logp[0].item<double>(), -std::log(30.0), 1e-5);
  EXPECT_TRUE(logp[1].isnan().item<bool>() && logp[2].isnan().item<bool>());
  EXPECT_NEAR(entropy[0].item<double>(), std::log(30.0), 1e-5);
}

TEST(TokenLogp, GradientsEqualTheReference) {
  at::manual_seed(2);
  for (auto [rows, vocabulary, dtype, out] : {std::tuple{2, 50, at::kFloat, at::kFloat},
                                              {3, 4099, at::kFloat, at::kBFloat16},
                                              {2, 12288, at::kBFloat16, at::kBFloat16},
                                              {1, 9000, at::kHalf, at::kFloat}})
    for (bool entropy : {false, true}) {
      Tensor logits = at::randn({rows, vocabulary}).to(dtype), target = targets(rows, vocabulary);
      Tensor g = at::randn({rows}), h = entropy ? at::randn({rows}) : Tensor();
      auto row = ops::token_logp(logits.to(at::kDouble), target, 1.3);
      Tensor wanted = ops::token_logp_backward(logits.to(at::kDouble), target, 1.3, row.lse, row.entropy,
                                               g.to(at::kDouble), entropy ? h.to(at::kDouble) : h, at::kDouble);
      Tensor found = cuda::token_logp_backward(on_device(logits), on_device(target), 1.3, on_device(row.lse),
                                               on_device(row.entropy), on_device(g),
                                               entropy ? std::optional<Tensor>(on_device(h)) : std::nullopt, out);
      EXPECT_EQ(found.scalar_type(), out);
      EXPECT_LT(gap(found, wanted), out == at::kFloat ? 1e-5 : 1e-2) << rows << " " << vocabulary;
    }
}

TEST(TokenLogp, TheSameBitsEveryTime) {
  Tensor logits = on_device(at::randn({4, 5000})), target = on_device(targets(4, 5000));
  auto one = cuda::token_logp(logits, target, 1), two = cuda::token_logp(logits, target, 1);
  EXPECT_TRUE(std::get<0>(one).equal(std::get<0>(two)) && std::get<2>(one).equal(std::get<2>(two)));
}

}  // namespace
}  // namespace rft::token_logp_test
