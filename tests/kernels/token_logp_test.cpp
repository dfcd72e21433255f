// The kernel's arithmetic, run on the CPU as a block of threads would: parts of a row summed apart and merged in a
// tree.
#include "kernels/token_logp.h"

#include <ATen/ATen.h>

#include "support.h"

namespace rft::kernels::token_logp_test {
namespace {

OnlineSoftmax one_logit(float z) {
  OnlineSoftmax out;
  float one[1] = {z * kLog2e};
  add_logits(out, one);
  return out;
}

OnlineSoftmax sums_of(const at::Tensor& row, int threads) {
  std::vector<OnlineSoftmax> own(threads);
  for (int64_t j = 0; j < row.numel(); ++j)
    own[j % threads] = merged(own[j % threads], one_logit(row[j].item<float>()));
  for (int offset = threads / 2; offset > 0; offset /= 2)
    for (int t = 0; t < offset; ++t) own[t] = merged(own[t], own[t + offset]);
  return own[0];
}

TEST(TokenLogpKernel, SumsEqualLogSoftmaxAndEntropyForAnySplit) {
  for (int64_t vocabulary : {1, 3, 257, 1000})
    for (int threads : {1, 8, 256})
      for (double scale : {1.0, 40.0}) {
        auto z = at::randn({vocabulary}).mul(scale);
        auto s = sums_of(z, threads);
        auto p = z.to(at::kDouble).log_softmax(0);
        EXPECT_NEAR(log_normalizer(s), z.to(at::kDouble).logsumexp(0).item<double>(), 1e-5 * std::max(1.0, scale));
        EXPECT_NEAR(entropy_of(s), p.exp().mul(p).sum().neg().item<double>(), 1e-4);
      }
}

TEST(TokenLogpKernel, MinusInfinityIsAnImpossibleToken) {
  auto z = at::zeros({4});
  z[2] = -std::numeric_limits<float>::infinity();  // first and last, where it would do most harm
  OnlineSoftmax s;
  for (int64_t j : {2, 0, 1, 3, 2}) s = merged(s, one_logit(z[j].item<float>()));
  EXPECT_NEAR(log_normalizer(s), std::log(3.0), 1e-6);
}

TEST(TokenLogpKernel, GradientIsAutogradsOfLogpAndEntropy) {
  auto z = at::randn({37}, at::kDouble).requires_grad_();
  auto p = z.log_softmax(0);
  auto entropy = p.exp().mul(p).sum().neg();
  p[5].mul(0.7).add(entropy.mul(-0.3)).backward();
  auto row = z.detach();
  double lse = row.logsumexp(0).item<double>(), h = entropy.item<double>();
  for (int64_t j = 0; j < 37; ++j)
    EXPECT_NEAR(logit_gradient(static_cast<float>((row[j].item<double>() - lse) * kLog2e), j == 5, 0.7f, -0.3f, h),
                z.grad()[j].item<double>(), 1e-6);
}

}  // namespace
}  // namespace rft::kernels::token_logp_test
