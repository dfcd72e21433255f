/// Divergences of whole distributions against TRL's GKDTrainer (tests/parity/make_language_losses.py), against the same
/// from logits that are held, and against finite differences.
#include "rft/ops/linear_divergence.h"

#include <ATen/ATen.h>
#include <ATen/CPUGeneratorImpl.h>
#include <torch/csrc/autograd/autograd.h>

#include <nlohmann/json.hpp>

#include "support.h"

namespace rft::linear_divergence_test {
namespace {

using Kind = Divergence::Kind;

Tensor matrix(const nlohmann::json& rows) {
  std::vector<double> flat;
  for (const auto& row : rows)
    for (const auto& x : row) flat.push_back(x.get<double>());
  return at::tensor(flat, at::kDouble).view({static_cast<int64_t>(rows.size()), -1});
}

const std::vector<Divergence> kAll = {{Kind::reverse_kl},          {Kind::forward_kl}, {Kind::jensen_shannon, 0.3},
                                      {Kind::jensen_shannon, 0.5}, {Kind::alpha, 0.4}, {Kind::alpha, 2.0}};

TEST(LinearDivergence, EqualsTrls) {
  auto data = nlohmann::json::parse(testing::read_file(testing::fixture("parity/data/trl/language_losses.json")));
  const auto& golden = data.at("divergences");
  // Logits of a model whose head is the identity are its hidden states.
  Tensor identity = at::eye(7, at::kDouble), teacher = matrix(golden.at("teacher"));
  for (const auto& one : golden.at("cases")) {
    double beta = one.at("beta");
    Kind kind = beta == 0 ? Kind::forward_kl : beta == 1 ? Kind::reverse_kl : Kind::jensen_shannon;
    Tensor student = matrix(golden.at("student")).set_requires_grad(true);
    Tensor value = ops::linear_divergence(student, identity, teacher, identity, {kind, beta});
    Tensor expected = at::tensor(one.at("value").get<std::vector<double>>(), at::kDouble);
    EXPECT_LE(value.sub(expected).abs().max().item<double>(), 1e-12) << beta;
    Tensor grad = torch::autograd::grad({value.sum()}, {student})[0];
    EXPECT_LE(grad.sub(matrix(one.at("grad"))).abs().max().item<double>(), 1e-12) << beta;
  }
}

TEST(LinearDivergence, CapsEachModelsLogits) {
  at::Generator g = at::detail::createCPUGenerator(5);
  auto noise = [&](std::vector<int64_t> shape) { return at::randn(shape, g, at::TensorOptions().dtype(at::kDouble)); };
  Tensor hidden = noise({7, 6}).set_requires_grad(true), weight = noise({50, 6}).set_requires_grad(true);
  Tensor ref_hidden = noise({7, 4}), ref_weight = noise({50, 4}), up = noise({7});
  auto capped = [](const Tensor& h, const Tensor& w, double cap) {
    Tensor logits = h.matmul(w.t());
    return at::log_softmax((cap > 0 ? logits.div(cap).tanh().mul(cap) : logits).div(0.8), 1);
  };
  for (const auto& divergence : kAll)
    for (auto [cap, ref_cap] : {std::pair{1.5, 0.0}, {0.0, 2.0}, {1.5, 2.0}}) {
      Tensor tiled = ops::linear_divergence(hidden, weight, ref_hidden, ref_weight, divergence, 0.8, cap, ref_cap);
      Tensor held =
          ops::divergence_of(capped(hidden, weight, cap), capped(ref_hidden, ref_weight, ref_cap), divergence);
      EXPECT_TRUE(tiled.allclose(held, 1e-12, 1e-12));
      auto a = torch::autograd::grad({tiled.mul(up).sum()}, {hidden, weight});
      auto b = torch::autograd::grad({held.mul(up).sum()}, {hidden, weight});
      for (int i : {0, 1}) EXPECT_TRUE(a[i].allclose(b[i], 1e-10, 1e-10));
    }
}

TEST(LinearDivergence, HasTheValueAndGradientOfLogitsThatAreHeld) {
  at::Generator g = at::detail::createCPUGenerator(3);
  auto noise = [&](std::vector<int64_t> shape) { return at::randn(shape, g, at::TensorOptions().dtype(at::kDouble)); };
  // More rows times tokens than one tile holds.
  Tensor hidden = noise({70, 6}).set_requires_grad(true), weight = noise({20000, 6}).set_requires_grad(true);
  Tensor ref_hidden = noise({70, 4}), ref_weight = noise({20000, 4}), up = noise({70});
  for (const auto& divergence : kAll) {
    Tensor tiled = ops::linear_divergence(hidden, weight, ref_hidden, ref_weight, divergence, 0.8);
    auto log_softmax = [](const Tensor& h, const Tensor& w) { return at::log_softmax(h.matmul(w.t()).div(0.8), 1); };
    Tensor held = ops::divergence_of(log_softmax(hidden, weight), log_softmax(ref_hidden, ref_weight), divergence);
    EXPECT_TRUE(tiled.allclose(held, 1e-12, 1e-12));
    auto a = torch::autograd::grad({tiled.mul(up).sum()}, {hidden, weight});
    auto b = torch::autograd::grad({held.mul(up).sum()}, {hidden, weight});
    for (int i : {0, 1}) EXPECT_TRUE(a[i].allclose(b[i], 1e-10, 1e-10));
  }
}

TEST(LinearDivergence, OfEqualModelsIsZeroAndOfOthersAbove) {
  at::Generator g = at::detail::createCPUGenerator(4);
  Tensor hidden = at::randn({5, 3}, g), weight = at::randn({9, 3}, g), other = at::randn({9, 3}, g);
  for (const auto& divergence : kAll) {
    EXPECT_LE(ops::linear_divergence(hidden, weight, hidden, weight, divergence).abs().max().item<double>(), 1e-6);
    EXPECT_GT(ops::linear_divergence(hidden, weight, hidden, other, divergence).min().item<double>(), 0);
  }
}

TEST(LinearDivergence, ModelsThatDoNotFitAreNamed) {
  Tensor hidden = at::zeros({2, 3}), weight = at::zeros({4, 3}), wide = at::zeros({5, 3});
  auto message = [&](const Tensor& w, Divergence d) {
    return testing::message_of<RunError>([&] { ops::linear_divergence(hidden, weight, hidden, w, d); });
  };
  EXPECT_NE(message(wide, {}).find("4 and 5 tokens"), std::string::npos);
  EXPECT_NE(message(weight, {Kind::alpha, 1}).find("mix"), std::string::npos);
}

}  // namespace
}  // namespace rft::linear_divergence_test
