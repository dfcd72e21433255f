// Attention against LibTorch's, in float64.
#include "rft/ops/attention.h"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <gtest/gtest.h>

#include "decode_kernel_sets.h"

namespace rft::attention_test {
namespace {

using testing::with_every_kernel_set;

TEST(Attention, GivesLibTorchsValuesAndGradients) {
  with_every_kernel_set([] {
    for (auto [N, H, L, M, d] : {std::array<int64_t, 5>{2, 3, 70, 70, 8},
                                 {1, 2, 300, 77, 40},
                                 {2, 1, 17, 200, 5},
                                 {1, 1, 3, 4, 2},
                                 {1, 1, 33, 260, 64}}) {
      // As a model has them: heads are columns of rows of tokens.
      auto made = [&, H = H, d = d, N = N](int64_t tokens) {
        return at::randn({N, tokens, H, d}).transpose(1, 2).detach().requires_grad_();
      };
      Tensor q = made(L), k = made(M), v = made(M), up = at::randn({N, L, H * d});
      Tensor out = ops::attention(q, k, v);
      out.mul(up).sum().backward();
      std::vector<Tensor> wide;
      for (const Tensor& x : {q, k, v}) wide.push_back(x.detach().to(at::kDouble).requires_grad_());
      Tensor expected =
          at::scaled_dot_product_attention(wide[0], wide[1], wide[2]).transpose(1, 2).reshape(out.sizes());
      expected.mul(up.to(at::kDouble)).sum().backward();
      EXPECT_LE(out.sub(expected).abs().max().item<double>(), 3e-6) << L << " x " << M;
      for (size_t i = 0; i < 3; ++i) {
        Tensor grad = (i == 0 ? q : i == 1 ? k : v).grad();
        EXPECT_LE(grad.sub(wide[i].grad()).abs().max().item<double>(), 2e-5) << L << " x " << M << ", input " << i;
      }
    }
  });
}

TEST(Attention, DoesNotDependOnThreadsNorOnTheOtherRows) {
  Tensor q = at::randn({3, 2, 50, 8}), k = at::randn({3, 2, 40, 8}), v = at::randn({3, 2, 40, 8});
  Tensor all = ops::attention(q, k, v);
  const int threads = at::get_num_threads();
  at::set_num_threads(threads == 1 ? 2 : 1);
  EXPECT_TRUE(ops::attention(q, k, v).equal(all));
  at::set_num_threads(threads);
  for (int64_t i = 0; i < 3; ++i)
    EXPECT_TRUE(ops::attention(q.narrow(0, i, 1), k.narrow(0, i, 1), v.narrow(0, i, 1)).equal(all.narrow(0, i, 1)));
}

TEST(Attention, ANaNIsSeen) {
  with_every_kernel_set([] {
    Tensor q = at::randn({1, 1, 40, 8}), k = at::randn({1, 1, 200, 8}), v = at::randn({1, 1, 200, 8});
    q.select(2, 3).select(-1, 0).fill_(NAN);
    Tensor seen = ops::attention(q, k, v).isnan().any(-1).squeeze(0);
    EXPECT_EQ(seen.sum().item<int64_t>(), 1);
    EXPECT_TRUE(seen[3].item<bool>());
    k.select(2, 7).select(-1, 0).fill_(NAN);
    EXPECT_TRUE(ops::attention(q, k, v).isnan().all().item<bool>());
  });
}

TEST(Attention, LargeScoresNeitherOverflowNorVanish) {
  with_every_kernel_set([] {
    Tensor q = at::full({1, 1, 2, 4}, 100.f), k = at::full({1, 1, 300, 4}, -100.f),
           v = at::arange(1200.f).view({1, 1, 300, 4});
    k.select(2, 250).fill_(100.f);
    EXPECT_TRUE(ops::attention(q, k, v).allclose(v.select(2, 250).expand({1, 2, 4})));
    k.fill_(-100.f);
    EXPECT_TRUE(ops::attention(q, k, v).allclose(v.mean(2).expand({1, 2, 4})));
  });
}

}  // namespace
}  // namespace rft::attention_test
