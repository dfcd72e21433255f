#include "rft/ops/rms_norm.h"

#include <ATen/ATen.h>
#include <ATen/CPUGeneratorImpl.h>
#include <ATen/Parallel.h>
#include <torch/csrc/autograd/autograd.h>

#include "support.h"

namespace rft::rms_norm_test {
namespace {

Tensor noise(at::IntArrayRef shape, at::ScalarType type, uint64_t seed) {
  return at::randn(shape, at::detail::createCPUGenerator(seed), at::TensorOptions().dtype(at::kDouble))
      .to(type)
      .requires_grad_();
}

Tensor composed(const Tensor& x, const Tensor& weight, double eps) {
  return x.mul(x.square().mean(-1, true).add(eps).rsqrt()).mul(weight);
}

double largest_difference(const Tensor& a, const Tensor& b) { return a.sub(b).abs().max().item<double>(); }

TEST(RmsNorm, EqualsItsFormulaWithGradients) {
  for (at::ScalarType type : {at::kDouble, at::kFloat})
    for (auto shape : {std::vector<int64_t>{1, 7}, {100, 32}, {33, 3, 12}}) {
      double tolerance = type == at::kDouble ? 1e-12 : 1e-4;
      Tensor x = noise(shape, type, 1), weight = noise({shape.back()}, type, 2), up = noise(shape, type, 3).detach();
      Tensor ours = ops::rms_norm(x, weight, 1e-5), theirs = composed(x, weight, 1e-5);
      EXPECT_LT(largest_difference(ours, theirs), tolerance);
      auto got = torch::autograd::grad({ours}, {x, weight}, {up}),
           expected = torch::autograd::grad({theirs}, {x, weight}, {up});
      EXPECT_LT(largest_difference(got[0], expected[0]), tolerance);
      EXPECT_LT(largest_difference(got[1], expected[1]), tolerance);
    }
}

TEST(RmsNorm, TakesViewsAndNoRows) {
  Tensor wide = noise({5, 24}, at::kDouble, 1), weight = noise({8}, at::kDouble, 2);
  Tensor view = wide.narrow(1, 8, 8);
  EXPECT_LT(largest_difference(ops::rms_norm(view, weight, 1e-5), composed(view, weight, 1e-5)), 1e-12);
  EXPECT_EQ(ops::rms_norm(at::zeros({0, 8}, at::kDouble), weight, 1e-5).sizes(), (std::vector<int64_t>{0, 8}));
}

TEST(RmsNorm, IsTheSameForAnyNumberOfThreads) {
  Tensor x = noise({1000, 32}, at::kFloat, 1), weight = noise({32}, at::kFloat, 2);
  auto gradients = [&](int threads) {
    int before = at::get_num_threads();
    at::set_num_threads(threads);
    auto out = torch::autograd::grad({ops::rms_norm(x, weight, 1e-6).square().sum()}, {x, weight});
    at::set_num_threads(before);
    return out;
  };
  auto one = gradients(1), three = gradients(3);
  EXPECT_TRUE(one[0].equal(three[0]) && one[1].equal(three[1]));
}

TEST(RmsNorm, RoundsHalfPrecisionBeforeTheWeight) {
  Tensor x = noise({4, 16}, at::kBFloat16, 1).detach(), weight = noise({16}, at::kBFloat16, 2).detach();
  Tensor wide = x.to(at::kFloat);
  Tensor expected = wide.mul(wide.square().mean(-1, true).add(1e-6).rsqrt()).to(at::kBFloat16).mul(weight);
  EXPECT_TRUE(ops::rms_norm(x, weight, 1e-6).equal(expected));
}

}  // namespace
}  // namespace rft::rms_norm_test
