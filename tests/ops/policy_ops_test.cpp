// The fused operations of small networks against the compositions they stand for: values and gradients.
#include <ATen/ATen.h>
#include <torch/csrc/autograd/autograd.h>

#include <cmath>
#include <numbers>

#include "rft/ops/mlp.h"
#include "rft/ops/policy_loss.h"
#include "support.h"

namespace rft::policy_ops_test {
namespace {

using torch::autograd::grad;

double furthest(const Tensor& a, const Tensor& b) { return a.sub(b).abs().max().item<double>(); }

Tensor activated(const Tensor& x, const std::string& name) {
  return name == "tanh" ? x.tanh() : name == "relu" ? x.relu() : name == "elu" ? at::elu(x) : at::silu(x);
}

TEST(MlpOp, EqualsItsLayersOneByOne) {
  for (std::string activation : {"tanh", "relu", "elu", "silu"})
    for (int64_t rows : {1, 7, 64}) {
      at::manual_seed(2);
      std::vector<ops::MlpLayer> layers;
      int64_t widths[] = {5, 16, 12, 3};
      std::vector<Tensor> leaves{at::randn({rows, 5}).requires_grad_(true)};
      for (int i = 0; i < 3; ++i) {
        layers.push_back({at::randn({widths[i + 1], widths[i]}).div(3).requires_grad_(true),
                          at::randn({widths[i + 1]}).requires_grad_(true)});
        leaves.push_back(layers.back().weight), leaves.push_back(layers.back().bias);
      }
      Tensor plain = leaves[0];
      for (size_t i = 0; i < 3; ++i) {
        plain = at::linear(plain, layers[i].weight, layers[i].bias);
        if (i < 2) plain = activated(plain, activation);
      }
      Tensor fused = ops::mlp(leaves[0], layers, activation);
      EXPECT_LE(furthest(fused, plain), 1e-5);
      Tensor weight = at::randn_like(plain);
      auto a = grad({fused.mul(weight).sum()}, leaves), b = grad({plain.mul(weight).sum()}, leaves);
      for (size_t k = 0; k < a.size(); ++k) EXPECT_LE(furthest(a[k], b[k]), 1e-4) << activation << " " << k;
    }
}

TEST(MlpOp, AnInputWithoutAGradientGetsNone) {
  std::vector<ops::MlpLayer> layers{{at::randn({2, 3}).requires_grad_(true), at::zeros({2}).requires_grad_(true)}};
  Tensor x = at::randn({4, 3});
  auto got = grad({ops::mlp(x, layers, "tanh").sum()}, {layers[0].weight});
  EXPECT_LE(furthest(got[0], x.sum(0).unsqueeze(0).expand({2, 3})), 1e-5);
}

TEST(ClippedSurrogate, EqualsMinimumAndClamp) {
  at::manual_seed(3);
  Tensor advantage = at::randn({200}, at::kDouble);
  for (std::optional<double> most : {std::optional<double>(), std::optional<double>(1.5)}) {
    Tensor ratio = at::randn({200}, at::kDouble).mul(0.4).exp().requires_grad_(true);
    Tensor capped = most ? ratio.clamp_max(*most) : ratio;
    Tensor plain = at::minimum(capped.mul(advantage), ratio.clamp(0.8, 1.3).mul(advantage)).neg();
    Tensor fused = ops::clipped_surrogate(ratio, advantage, 0.8, 1.3, most);
    EXPECT_LE(furthest(fused, plain), 1e-14);
    EXPECT_LE(furthest(grad({fused.sum()}, {ratio})[0], grad({plain.sum()}, {ratio})[0]), 1e-14);
  }
}

TEST(ClippedValueLoss, EqualsTheLargerOfTwoSquares) {
  at::manual_seed(4);
  Tensor returns = at::randn({200}, at::kDouble), old = at::randn({200}, at::kDouble);
  for (std::optional<double> clip : {std::optional<double>(), std::optional<double>(0.3)}) {
    Tensor value = old.add(at::randn({200}, at::kDouble), 0.5).requires_grad_(true);
    Tensor squares = value.sub(returns).square();
    if (clip) squares = at::maximum(squares, old.add(value.sub(old).clamp(-*clip, *clip)).sub(returns).square());
    Tensor plain = squares.div(2), fused = ops::clipped_value_loss(value, returns, old, clip);
    EXPECT_LE(furthest(fused, plain), 1e-14);
    EXPECT_LE(furthest(grad({fused.sum()}, {value})[0], grad({plain.sum()}, {value})[0]), 1e-14);
  }
}

TEST(NormalLogp, IsTheDensity) {
  at::manual_seed(5);
  Tensor mean = at::randn({9, 3}, at::kDouble).requires_grad_(true);
  Tensor log_std = at::randn({3}, at::kDouble).mul(0.3).requires_grad_(true), action = at::randn({9, 3}, at::kDouble);
  Tensor z = action.sub(mean).div(log_std.exp());
  Tensor plain = z.square().div(2).add(log_std).add(0.5 * std::log(2 * std::numbers::pi)).sum(1).neg();
  Tensor fused = ops::normal_logp(mean, log_std, action), weight = at::randn({9}, at::kDouble);
  EXPECT_LE(furthest(fused, plain), 1e-12);
  auto a = grad({fused.mul(weight).sum()}, {mean, log_std}), b = grad({plain.mul(weight).sum()}, {mean, log_std});
  EXPECT_LE(furthest(a[0], b[0]), 1e-12);
  EXPECT_LE(furthest(a[1], b[1]), 1e-12);
}

}  // namespace
}  // namespace rft::policy_ops_test
