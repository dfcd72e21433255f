#include "rft/ops/swiglu.h"

#include <ATen/ATen.h>
#include <ATen/CPUGeneratorImpl.h>
#include <torch/csrc/autograd/autograd.h>

#include "ops/decode_kernels.h"
#include "support.h"

namespace rft::swiglu_test {
namespace {

Tensor noise(at::IntArrayRef shape, at::ScalarType type, uint64_t seed) {
  return at::randn(shape, at::detail::createCPUGenerator(seed), at::TensorOptions().dtype(at::kDouble))
      .mul(3)
      .to(type)
      .requires_grad_();
}

double largest_difference(const Tensor& a, const Tensor& b) {
  return a.to(at::kDouble).sub(b).abs().max().item<double>();
}

/// Against silu(gate) * up in float64.
void expect_the_formula(const Tensor& x, const Tensor& up, double tolerance) {
  Tensor exact = x.detach().to(at::kDouble).requires_grad_();
  auto halves = exact.chunk(2, 1);
  Tensor ours = ops::swiglu(x), theirs = at::silu(halves[0]).mul(halves[1]);
  EXPECT_LT(largest_difference(ours, theirs), tolerance);
  auto got = torch::autograd::grad({ours}, {x}, {up}),
       expected = torch::autograd::grad({theirs}, {exact}, {up.to(at::kDouble)});
  EXPECT_LT(largest_difference(got[0], expected[0]), tolerance);
}

TEST(Swiglu, EqualsItsFormulaWithGradientsOnEveryInstructionSet) {
  const auto& before = ops::decode_kernels();
  for (const auto* kernels : ops::decode_kernel_sets()) {
    SCOPED_TRACE(kernels->name);
    ops::use_decode_kernels(*kernels);
    for (int64_t width : {1, 16, 37})
      expect_the_formula(noise({300, 2 * width}, at::kFloat, 1), noise({300, width}, at::kFloat, 2).detach(), 2e-5);
  }
  ops::use_decode_kernels(before);
}

TEST(Swiglu, EqualsItsFormulaInFloat64) {
  expect_the_formula(noise({30, 10}, at::kDouble, 1), noise({30, 5}, at::kDouble, 2).detach(), 1e-13);
}

TEST(Swiglu, StaysFiniteAtTheEnds) {
  Tensor x = at::tensor({-1e30f, -200.f, 0.f, 200.f, 1e30f, 1.f, 1.f, 1.f, 1.f, 1.f}).view({1, 10}).requires_grad_();
  Tensor y = ops::swiglu(x);
  EXPECT_TRUE(y.isfinite().all().item<bool>());
  EXPECT_TRUE(torch::autograd::grad({y.sum()}, {x})[0].isfinite().all().item<bool>());
}

TEST(Swiglu, TakesViewsAndNoTokens) {
  Tensor wide = noise({6, 40}, at::kFloat, 1);
  expect_the_formula(wide.narrow(1, 8, 24).detach().requires_grad_(), noise({6, 12}, at::kFloat, 2).detach(), 2e-5);
  EXPECT_EQ(ops::swiglu(at::zeros({0, 8})).sizes(), (std::vector<int64_t>{0, 4}));
}

}  // namespace
}  // namespace rft::swiglu_test
