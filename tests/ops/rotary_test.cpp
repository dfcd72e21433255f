#include "rft/ops/rotary.h"

#include <ATen/ATen.h>
#include <ATen/CPUGeneratorImpl.h>
#include <torch/csrc/autograd/autograd.h>

#include "support.h"

namespace rft::rotary_test {
namespace {

Tensor noise(at::IntArrayRef shape, at::ScalarType type, uint64_t seed) {
  return at::randn(shape, at::detail::createCPUGenerator(seed), at::TensorOptions().dtype(at::kDouble))
      .to(type)
      .requires_grad_();
}

/// x cos + rotate_half(x) sin, as transformers writes it, in the first `rotated` heads.
Tensor composed(const Tensor& x, const Tensor& cos, const Tensor& sin, int64_t rotated) {
  auto both = [](const Tensor& t) { return at::cat({t, t}, 1).unsqueeze(1); };
  auto halves = x.chunk(2, 2);
  auto turned = x.mul(both(cos)).add(at::cat({halves[1].neg(), halves[0]}, 2).mul(both(sin)));
  return at::cat({turned.narrow(1, 0, rotated), x.narrow(1, rotated, x.size(1) - rotated)}, 1);
}

struct Angles {
  Tensor cos, sin;
};
Angles angles(int64_t tokens, int64_t half, at::ScalarType type) {
  auto angle = noise({tokens, half}, at::kDouble, 9).detach();
  return {angle.cos().to(type), angle.sin().to(type)};
}

double largest_difference(const Tensor& a, const Tensor& b) { return a.sub(b).abs().max().item<double>(); }

TEST(Rotary, TurnsPairsAsTransformersWithGradients) {
  for (at::ScalarType type : {at::kDouble, at::kFloat})
    for (int64_t rotated : {0, 3, 5}) {
      double tolerance = type == at::kDouble ? 1e-14 : 2e-6;
      auto [cos, sin] = angles(300, 7, type);
      Tensor x = noise({300, 5, 14}, type, 1), up = noise({300, 5, 14}, type, 2).detach();
      Tensor ours = ops::rotary(x, cos, sin, rotated), theirs = composed(x, cos, sin, rotated);
      EXPECT_LT(largest_difference(ours, theirs), tolerance) << rotated;
      auto got = torch::autograd::grad({ours}, {x}, {up}), expected = torch::autograd::grad({theirs}, {x}, {up});
      EXPECT_LT(largest_difference(got[0], expected[0]), tolerance) << rotated;
    }
}

TEST(Rotary, TakesViewsAndNoTokens) {
  auto [cos, sin] = angles(6, 4, at::kDouble);
  Tensor wide = noise({6, 40}, at::kDouble, 1);
  Tensor rows = wide.narrow(1, 8, 24).view({6, 3, 8}), heads = noise({6, 8, 3}, at::kDouble, 2).transpose(1, 2);
  EXPECT_LT(largest_difference(ops::rotary(rows, cos, sin, 3), composed(rows, cos, sin, 3)), 1e-14);
  EXPECT_LT(largest_difference(ops::rotary(heads, cos, sin, 2), composed(heads, cos, sin, 2)), 1e-14);
  auto none = ops::rotary(at::zeros({0, 3, 8}), at::zeros({0, 4}), at::zeros({0, 4}), 3);
  EXPECT_EQ(none.sizes(), (std::vector<int64_t>{0, 3, 8}));
}

TEST(Rotary, TurnsHalfPrecision) {
  auto [cos, sin] = angles(6, 4, at::kBFloat16);
  Tensor x = noise({6, 3, 8}, at::kBFloat16, 1).detach();
  auto wide = composed(x.to(at::kFloat), cos.to(at::kFloat), sin.to(at::kFloat), 2);
  EXPECT_LT(largest_difference(ops::rotary(x, cos, sin, 2).to(at::kFloat), wide), 0.05);
}

TEST(Rotary, NamesShapesThatDoNotFit) {
  EXPECT_EQ(testing::message_of<RunError>([] {
              ops::rotary(at::zeros({2, 3, 8}), at::zeros({2, 3}), at::zeros({2, 3}), 3);
            }),
            "[rotary] cos and sin must be [2, 4]; got [2, 3] and [2, 3]");
}

}  // namespace
}  // namespace rft::rotary_test
