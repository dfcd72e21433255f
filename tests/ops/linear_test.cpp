#include "rft/ops/linear.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

#include "rft/ops/gather_rows.h"
#include "support.h"

namespace rft::ops {
namespace {

void expect_like_linear(at::ScalarType dtype, bool with_bias, double tolerance) {
  auto options = at::TensorOptions().dtype(dtype);
  auto x = at::randn({37, 24}, options), w = at::randn({50, 24}, options), b = at::randn({50}, options), g = at::randn({37, 50}, options);
  std::vector<Tensor> results[2];
  for (int ours : {0, 1}) {
    auto xi = x.clone().requires_grad_(), wi = w.clone().requires_grad_(), bi = b.clone().requires_grad_();
    auto bias = with_bias ? bi : Tensor();
    auto y = ours ? ops::linear(xi, wi, bias) : at::linear(xi, wi, bias);
    y.mul(g).sum().backward();
    results[ours] = {y.detach(), xi.grad(), wi.grad()};
    if (with_bias) results[ours].push_back(bi.grad());
  }
  for (size_t i = 0; i < results[0].size(); ++i) EXPECT_TRUE(at::allclose(results[0][i], results[1][i], tolerance, tolerance)) << i;
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
}  // namespace rft::ops
