#include "ops/gemm.h"

#include <ATen/ATen.h>
#include <ATen/CPUGeneratorImpl.h>
#include <ATen/Parallel.h>

#include "rft/core/tensor.h"
#include "support.h"

namespace rft::gemm_test {
namespace {

Tensor noise(at::IntArrayRef shape, uint64_t seed) {
  return at::randn(shape, at::detail::createCPUGenerator(seed), at::kFloat);
}

/// base + scale * a b: `base` [n] is the bias; [m, n] is added to.
Tensor product(const Tensor& a, const Tensor& b, const Tensor& base = {}, float scale = 1) {
  bool add = base.defined() && base.dim() == 2;
  Tensor c = add ? base.clone() : at::full({a.size(0), b.size(1)}, 7.f);
  auto matrix = [](const Tensor& x) { return ops::MatrixOf{x.const_data_ptr<float>(), x.stride(0), x.stride(1)}; };
  const float* bias = base.defined() && !add ? base.const_data_ptr<float>() : nullptr;
  ops::gemm(a.size(0), b.size(1), a.size(1), matrix(a), matrix(b),
            {c.data_ptr<float>(), c.stride(0), bias, scale, add});
  return c;
}

/// The same matrix, columns side by side, or every second element of a larger one.
std::vector<Tensor> layouts(const Tensor& x) {
  return {x, x.t().contiguous().t(),
          x.repeat_interleave(2, 0).repeat_interleave(2, 1).slice(0, 0, std::nullopt, 2).slice(1, 0, std::nullopt, 2)};
}

class Gemm : public ::testing::Test {
  void SetUp() override {
    if (!ops::gemm_is_faster()) GTEST_SKIP() << "this CPU does not run it";
  }
};

TEST_F(Gemm, EqualsTheProductInFloat64ForAnyShapeAndStrides) {
  const std::vector<std::array<int64_t, 3>> shapes = {{1, 1, 1},      {14, 32, 16},   {15, 33, 17},  {13, 31, 15},
                                                      {100, 70, 530}, {3, 600, 1100}, {29, 31, 512}, {200, 1030, 40},
                                                      {57, 64, 0},    {0, 5, 5}};
  for (auto [m, n, k] : shapes) {
    SCOPED_TRACE(cat(m, " x ", n, " x ", k));
    Tensor a = noise({m, k}, 1), b = noise({k, n}, 2), bias = noise({n}, 3), before = noise({m, n}, 4);
    Tensor exact = a.to(at::kDouble).mm(b.to(at::kDouble));
    auto is = [tolerance = 1e-6 * static_cast<double>(k + 1)](const Tensor& got, const Tensor& expected) {
      return at::allclose(got.to(at::kDouble), expected, 0, tolerance);
    };
    for (const Tensor& left : layouts(a))
      for (const Tensor& right : layouts(b)) {
        EXPECT_TRUE(is(product(left, right), exact));
        EXPECT_TRUE(is(product(left, right, bias, -0.5f), exact.mul(-0.5).add(bias)));
        EXPECT_TRUE(is(product(left, right, before, 0.25f), exact.mul(0.25).add(before)));
      }
  }
}

TEST_F(Gemm, IsBitwiseTheSameForAnyNumberOfThreads) {
  Tensor a = noise({333, 700}, 1), b = noise({700, 95}, 2);
  int before = at::get_num_threads();
  at::set_num_threads(1);
  Tensor one = product(a, b);
  at::set_num_threads(3);
  EXPECT_TRUE(product(a, b).equal(one));
  at::set_num_threads(before);
}

}  // namespace
}  // namespace rft::gemm_test
