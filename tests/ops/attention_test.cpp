// Attention against LibTorch's, in float64.
#include "rft/ops/attention.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

namespace rft {
namespace {

TEST(Attention, GivesLibTorchsValuesAndGradients) {
  for (auto [N, H, L, M, d] :
       {std::array<int64_t, 5>{2, 3, 70, 70, 8}, {1, 2, 300, 77, 40}, {2, 1, 17, 200, 5}, {1, 1, 3, 4, 2}}) {
    // As a model has them: heads are columns of rows of tokens.
    auto made = [&, H = H, d = d, N = N](int64_t tokens) {
      return at::randn({N, tokens, H, d}).transpose(1, 2).detach().requires_grad_();
    };
    Tensor q = made(L), k = made(M), v = made(M), up = at::randn({N, L, H * d});
    Tensor out = ops::attention(q, k, v);
    out.mul(up).sum().backward();
    std::vector<Tensor> wide;
    for (const Tensor& x : {q, k, v}) wide.push_back(x.detach().to(at::kDouble).requires_grad_());
    Tensor expected = at::scaled_dot_product_attention(wide[0], wide[1], wide[2]).transpose(1, 2).reshape(out.sizes());
    expected.mul(up.to(at::kDouble)).sum().backward();
    EXPECT_LE(out.sub(expected).abs().max().item<double>(), 3e-6) << L << " x " << M;
    for (size_t i = 0; i < 3; ++i) {
      Tensor grad = (i == 0 ? q : i == 1 ? k : v).grad();
      EXPECT_LE(grad.sub(wide[i].grad()).abs().max().item<double>(), 2e-5) << L << " x " << M << ", input " << i;
    }
  }
}

}  // namespace
}  // namespace rft
