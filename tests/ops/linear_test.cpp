#include "rft/ops/linear.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>
#include <torch/csrc/autograd/autograd.h>

#include "rft/ops/gather_rows.h"
#include "support.h"

namespace rft::ops::linear_test {
namespace {

void expect_like_linear(at::ScalarType dtype, bool with_bias, double tolerance) {
  auto options = at::TensorOptions().dtype(dtype);
  auto x = at::randn({37, 24}, options), w = at::randn({50, 24}, options), b = at::randn({50}, options),
       g = at::randn({37, 50}, options);
  std::vector<Tensor> results[2];
  for (int ours : {0, 1}) {
    auto xi = x.clone().requires_grad_(), wi = w.clone().requires_grad_(), bi = b.clone().requires_grad_();
    auto bias = with_bias ? bi : Tensor();
    auto y = ours ? ops::linear(xi, wi, bias) : at::linear(xi, wi, bias);
    y.mul(g).sum().backward();
    results[ours] = {y.detach(), xi.grad(), wi.grad()};
    if (with_bias) results[ours].push_back(bi.grad());
  }
  for (size_t i = 0; i < results[0].size(); ++i)
    EXPECT_TRUE(at::allclose(results[0][i], results[1][i], tolerance, tolerance)) << i;
}

TEST(Linear, ValuesAndGradientsAreLibTorchs) {
  for (bool with_bias : {false, true}) {
    expect_like_linear(at::kFloat, with_bias, 2e-5);
    expect_like_linear(at::kDouble, with_bias, 1e-12);
  }
}

TEST(Linear, TakesSlicesOfLargerTensors) {
  auto wide = at::randn({9, 40}), weight = at::randn({8, 10});
  auto x = wide.narrow(1, 10, 10);
  EXPECT_TRUE(at::allclose(ops::linear(x, weight), at::linear(x, weight), 1e-5, 1e-5));
}

TEST(Linear, RecordsNothingUnderNoGrad) {
  at::NoGradGuard no_grad;
  EXPECT_FALSE(ops::linear(at::randn({3, 4}), at::randn({5, 4}).requires_grad_()).requires_grad());
}

TEST(Linear, AddsLowRankProductsToSomeColumnsWithGradients) {
  for (auto dtype : {at::kFloat, at::kDouble}) {
    double tolerance = dtype == at::kFloat ? 1e-4 : 1e-12;
    auto draw = [&](at::IntArrayRef shape) { return at::randn(shape, dtype).requires_grad_(); };
    Tensor x = draw({37, 24}), w = draw({50, 24}), bias = draw({50}), a = draw({4, 24}), b = draw({20, 4});
    Tensor a2 = draw({3, 24}), b2 = draw({10, 3}), g = at::randn({37, 50}, dtype);
    Tensor ours = ops::linear(x, w, bias, {{a, b, 0, 0.5}, {a2, b2, 40, 2.0}});
    Tensor delta = at::cat({b.mm(a).mul(0.5), at::zeros({20, 24}, dtype), b2.mm(a2).mul(2)}, 0);
    Tensor theirs = at::linear(x, w.add(delta), bias);
    EXPECT_TRUE(at::allclose(ours, theirs, tolerance, tolerance));
    std::vector<Tensor> leaves{x, w, bias, a, b, a2, b2};
    auto got = torch::autograd::grad({ours}, leaves, {g}), expected = torch::autograd::grad({theirs}, leaves, {g});
    for (size_t i = 0; i < leaves.size(); ++i)
      EXPECT_TRUE(at::allclose(got[i], expected[i], tolerance, tolerance)) << i;
  }
}

TEST(Linear, GivesOnlyTheAdditionsGradientsWhereTheWeightIsFrozen) {
  Tensor x = at::randn({37, 24}), w = at::randn({50, 24}), a = at::randn({4, 24}).requires_grad_();
  Tensor b = at::randn({20, 4}).requires_grad_();
  ops::linear(x, w, {}, {{a, b, 30, 0.5}}).sum().backward();
  EXPECT_TRUE(a.grad().defined() && b.grad().defined());
  EXPECT_FALSE(x.grad().defined() || w.grad().defined());
}

TEST(GatherRows, MovesRowsAndTheirGradients) {
  auto x = at::randn({3, 2}, at::kDouble).requires_grad_();
  auto index = at::tensor(std::vector<int64_t>{2, 0, 0, 1}), inverse = at::tensor(std::vector<int64_t>{1, 3, 0});
  auto y = gather_rows(x, index, inverse);
  EXPECT_TRUE(at::equal(y, x.index_select(0, index)));
  auto g = at::randn({4, 2}, at::kDouble);
  g[2].zero_();  // the repeated row is padding
  y.mul(g).sum().backward();
  EXPECT_TRUE(at::equal(x.grad(), g.index_select(0, inverse)));
}

}  // namespace
}  // namespace rft::ops::linear_test
