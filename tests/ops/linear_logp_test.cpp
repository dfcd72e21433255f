#include "rft/ops/linear_logp.h"

#include <ATen/ATen.h>
#include <ATen/CPUGeneratorImpl.h>
#include <c10/core/Allocator.h>
#include <c10/core/GradMode.h>
#include <c10/core/InferenceMode.h>
#include <c10/util/ThreadLocalDebugInfo.h>
#include <torch/csrc/autograd/autograd.h>

#include <cmath>

#include "ops/linear_logp_chunks.h"
#include "support.h"

namespace rft::linear_logp_test {
namespace {

struct Input {
  Tensor hidden, weight, target;
};

Input make_input(int64_t n, int64_t d, int64_t v, at::ScalarType type, double scale = 1.0) {
  at::Generator generator = at::detail::createCPUGenerator(11);
  auto options = at::TensorOptions().dtype(at::kDouble);
  Tensor hidden = at::randn({n, d}, generator, options).mul(scale).to(type);
  Tensor weight = at::randn({v, d}, generator, options).to(type);
  Tensor target = at::randint(0, v, {n}, generator, at::TensorOptions().dtype(at::kLong));
  return {hidden.set_requires_grad(true), weight.set_requires_grad(true), target};
}

/// The plain computation, with [N, V] logits.
ops::LinearLogp whole_logits(const Input& in, double temperature, at::ScalarType type) {
  Tensor log_p = at::log_softmax(in.hidden.to(type).mm(in.weight.to(type).t()).div(temperature), 1);
  return {log_p.gather(1, in.target.unsqueeze(1)).squeeze(1), log_p.exp().mul(log_p).sum(1).neg()};
}

double largest_difference(const Tensor& a, const Tensor& b) {
  return a.detach().to(at::kDouble).sub(b.detach().to(at::kDouble)).abs().max().item<double>();
}

/// Gradients of sum(logp * a) + sum(entropy * b) for fixed weights a, b.
std::vector<Tensor> gradients(const ops::LinearLogp& out, const Input& in) {
  Tensor ramp = at::linspace(-1, 1, out.logp.numel(), out.logp.options().requires_grad(false));
  Tensor total = out.logp.mul(ramp).sum();
  if (out.entropy.defined()) total = total.add(out.entropy.mul(ramp.flip(0).add(0.3)).sum());
  return torch::autograd::grad({total}, {in.hidden, in.weight});
}

TEST(LinearLogp, EqualsLogSoftmaxAndGatherInFloat64) {
  // 9000 tokens are three blocks of the vocabulary, 700 rows several tiles.
  for (auto [n, v] : {std::pair<int64_t, int64_t>{5, 7}, {700, 9000}, {1, 1}, {300, 4096}}) {
    Input in = make_input(n, 6, v, at::kDouble);
    auto got = ops::linear_logp(in.hidden, in.weight, in.target, 0.7, true);
    auto expected = whole_logits(in, 0.7, at::kDouble);
    EXPECT_EQ(got.logp.scalar_type(), at::kDouble);
    EXPECT_LT(largest_difference(got.logp, expected.logp), 1e-12) << n << "x" << v;
    EXPECT_LT(largest_difference(got.entropy, expected.entropy), 1e-12) << n << "x" << v;
    auto ours = gradients(got, in), theirs = gradients(expected, in);
    EXPECT_LT(largest_difference(ours[0], theirs[0]), 1e-11) << n << "x" << v;
    EXPECT_LT(largest_difference(ours[1], theirs[1]), 1e-11) << n << "x" << v;
  }
}

TEST(LinearLogp, Float32IsAsCloseToFloat64AsTheWholeLogitsAre) {
  Input in = make_input(333, 64, 5000, at::kFloat, 0.5);
  auto exact = whole_logits(in, 1.0, at::kDouble);
  auto plain = whole_logits(in, 1.0, at::kFloat);
  auto got = ops::linear_logp(in.hidden, in.weight, in.target, 1.0, true);
  EXPECT_EQ(got.logp.scalar_type(), at::kFloat);
  EXPECT_LT(largest_difference(got.logp, exact.logp), 1.5 * largest_difference(plain.logp, exact.logp) + 1e-6);
  EXPECT_LT(largest_difference(got.entropy, exact.entropy), 1e-5);
  auto ours = gradients(got, in), theirs = gradients(exact, in);
  EXPECT_LT(largest_difference(ours[0], theirs[0]), 2e-5);
  EXPECT_LT(largest_difference(ours[1], theirs[1]), 2e-5);
}

TEST(LinearLogp, Bfloat16InputGivesFloat32SumsAndBfloat16Gradients) {
  Input in = make_input(130, 32, 4500, at::kBFloat16, 0.5);
  auto exact = whole_logits(in, 1.0, at::kDouble);
  auto got = ops::linear_logp(in.hidden, in.weight, in.target, 1.0, true);
  EXPECT_EQ(got.logp.scalar_type(), at::kFloat);
  EXPECT_LT(largest_difference(got.logp, exact.logp), 1e-4);
  EXPECT_LT(largest_difference(got.entropy, exact.entropy), 1e-4);
  auto ours = gradients(got, in), theirs = gradients(exact, in);
  EXPECT_EQ(ours[1].scalar_type(), at::kBFloat16);
  EXPECT_LT(largest_difference(ours[0], theirs[0]), 0.01 * theirs[0].abs().max().item<double>());
  EXPECT_LT(largest_difference(ours[1], theirs[1]), 0.01 * theirs[1].abs().max().item<double>());
}

TEST(LinearLogp, CapsTheLogits) {
  for (auto type : {at::kDouble, at::kFloat}) {
    Input in = make_input(7, 5, 6000, type);  // two blocks of the vocabulary
    auto got = ops::linear_logp(in.hidden, in.weight, in.target, 0.7, true, 1.5);
    Tensor logits = in.hidden.matmul(in.weight.t()).div(1.5).tanh().mul(1.5 / 0.7);
    Tensor all = logits.log_softmax(-1);
    ops::LinearLogp exact{all.gather(1, in.target.unsqueeze(1)).squeeze(1), all.exp().mul(all).sum(1).neg()};
    double tolerance = type == at::kDouble ? 1e-10 : 2e-5;
    EXPECT_LT(largest_difference(got.logp, exact.logp), tolerance);
    EXPECT_LT(largest_difference(got.entropy, exact.entropy), tolerance);
    auto ours = gradients(got, in), theirs = gradients(exact, in);
    for (int which : {0, 1}) EXPECT_LT(largest_difference(ours[which], theirs[which]), tolerance);
  }
}

TEST(LinearLogp, GradientsAgreeWithFiniteDifferences) {
  Input in = make_input(4, 3, 5, at::kDouble);
  auto value = [&] {
    c10::AutoGradMode off(false);
    auto out = ops::linear_logp(in.hidden, in.weight, in.target, 1.3, true);
    return out.logp.mul(at::linspace(-1, 1, 4, out.logp.options())).sum().item<double>() +
           out.entropy.mul(at::linspace(1.3, -0.7, 4, out.logp.options())).sum().item<double>();
  };
  auto analytic = gradients(ops::linear_logp(in.hidden, in.weight, in.target, 1.3, true), in);
  for (int which : {0, 1}) {
    Tensor x = (which == 0 ? in.hidden : in.weight).detach();
    double* data = x.data_ptr<double>();
    for (int64_t i = 0; i < x.numel(); ++i) {
      double kept = data[i], step = 1e-6;
      data[i] = kept + step;
      double up = value();
      data[i] = kept - step;
      double down = value();
      data[i] = kept;
      EXPECT_NEAR((up - down) / (2 * step), analytic[which].flatten()[i].item<double>(), 1e-8) << which << " " << i;
    }
  }
}

TEST(LinearLogp, EntropyAloneAndOneInputAloneCanBeDifferentiated) {
  Input in = make_input(6, 4, 9, at::kDouble);
  auto out = ops::linear_logp(in.hidden, in.weight.detach(), in.target, 1.0, true);
  auto expected = whole_logits(in, 1.0, at::kDouble);
  Tensor ours = torch::autograd::grad({out.entropy.sum()}, {in.hidden})[0];
  Tensor theirs = torch::autograd::grad({expected.entropy.sum()}, {in.hidden})[0];
  EXPECT_LT(largest_difference(ours, theirs), 1e-12);
  auto frozen = ops::linear_logp(in.hidden.detach(), in.weight.detach(), in.target);
  EXPECT_FALSE(frozen.logp.requires_grad());
  EXPECT_FALSE(frozen.entropy.defined());
}

TEST(LinearLogp, WorksInInferenceModeAndOnStridedInput) {
  Input in = make_input(6, 4, 9, at::kDouble);
  auto expected = ops::linear_logp(in.hidden, in.weight, in.target, 1.0, true);
  c10::InferenceMode inference;
  Tensor strided = in.hidden.detach().t().contiguous().t();
  auto got = ops::linear_logp(strided, in.weight, in.target, 1.0, true);
  EXPECT_LT(largest_difference(got.logp, expected.logp), 1e-14);
  EXPECT_LT(largest_difference(got.entropy, expected.entropy), 1e-14);
}

TEST(LinearLogp, LargeLogitsStayFiniteAndNanIsNotHidden) {
  Input in = make_input(3, 4, 11, at::kFloat, 1e4);
  auto out = ops::linear_logp(in.hidden, in.weight, in.target, 1.0, true);
  EXPECT_TRUE(out.logp.isfinite().all().item<bool>());
  EXPECT_TRUE(out.entropy.isfinite().all().item<bool>());
  auto grads = gradients(out, in);
  EXPECT_TRUE(grads[0].isfinite().all().item<bool>());
  Tensor broken = in.hidden.detach().clone();
  broken[1][2] = std::nan("");
  Tensor logp = ops::linear_logp(broken, in.weight, in.target).logp;
  EXPECT_TRUE(std::isnan(logp[1].item<float>()));
  EXPECT_TRUE(std::isfinite(logp[0].item<float>()));
}

TEST(LinearLogp, NoRowsGiveNoValuesAndZeroGradients) {
  Input in = make_input(0, 4, 11, at::kFloat);
  auto out = ops::linear_logp(in.hidden, in.weight, in.target, 1.0, true);
  EXPECT_EQ(out.logp.numel(), 0);
  Tensor grad = torch::autograd::grad({out.logp.sum()}, {in.weight})[0];
  EXPECT_EQ(grad.abs().sum().item<float>(), 0);
}

TEST(LinearLogp, IsTheSameBitForBitWhenRunAgain) {
  Input in = make_input(500, 32, 6000, at::kFloat);
  auto first = ops::linear_logp(in.hidden, in.weight, in.target, 1.0, true);
  auto again = ops::linear_logp(in.hidden, in.weight, in.target, 1.0, true);
  EXPECT_TRUE(first.logp.equal(again.logp));
  auto a = gradients(first, in), b = gradients(again, in);
  EXPECT_TRUE(a[0].equal(b[0]));
  EXPECT_TRUE(a[1].equal(b[1]));
}

TEST(LinearLogp, WrongShapesTypesAndTargetsAreRefused) {
  Input in = make_input(3, 4, 5, at::kFloat);
  auto refuse = [&](const Tensor& h, const Tensor& w, const Tensor& t, double temperature = 1.0) {
    return testing::message_of<RunError>([&] { ops::linear_logp(h, w, t, temperature); });
  };
  EXPECT_NE(refuse(in.hidden, in.weight.narrow(1, 0, 3), in.target).find("share D"), std::string::npos);
  EXPECT_NE(refuse(in.hidden, in.weight, in.target.add(5)).find("0 .. 4"), std::string::npos);
  EXPECT_NE(refuse(in.hidden, in.weight.to(at::kDouble), in.target).find("both"), std::string::npos);
  EXPECT_NE(refuse(in.hidden, in.weight, in.target, 0.0).find("above 0"), std::string::npos);
}

/// Counts the bytes that LibTorch's CPU allocator holds in this thread.
class AllocatedBytes : public c10::MemoryReportingInfoBase {
 public:
  bool memoryProfilingEnabled() const override { return true; }
  void reportMemoryUsage(void*, int64_t change, size_t, size_t, c10::Device) override {
    held += change;
    peak = std::max(peak, held);
  }
  int64_t held = 0, peak = 0;
};

TEST(LinearLogp, HoldsNoMoreThanOneTileOfLogitsBesideItsOutput) {
  int64_t n = 2048, d = 16, v = 20000;
  Input in = make_input(n, d, v, at::kFloat);
  auto bytes = std::make_shared<AllocatedBytes>();
  c10::DebugInfoGuard guard(c10::DebugInfoKind::PROFILER_STATE, bytes);
  auto out = ops::linear_logp(in.hidden, in.weight, in.target, 1.0, true);
  int64_t tile = (1 << 20) * sizeof(float), gradients_of_input = (n * d + v * d) * sizeof(float);
  int64_t small = (4096 * d + 16 * n) * sizeof(double);  // one block's gradient, a few numbers a row
  EXPECT_GT(bytes->peak, tile / 2) << "nothing was counted";
  EXPECT_LT(bytes->peak, tile + small);
  bytes->peak = bytes->held;
  gradients(out, in);
  EXPECT_LT(bytes->peak, tile + gradients_of_input + small);
  EXPECT_LT(bytes->peak, n * v * static_cast<int64_t>(sizeof(float)) / 10) << "not far below [N, V] logits";
}

/// What a GPU computes, here on the CPU: chunks of 7 rows.
TEST(ChunkedLogp, EqualsTheTiledComputation) {
  for (double softcap : {0.0, 3.0}) {
    Input in = make_input(31, 6, 90, at::kDouble);
    auto expected = ops::linear_logp(in.hidden, in.weight, in.target, 0.7, true, softcap);
    Tensor ramp = at::linspace(-1, 1, 31, at::kDouble), other = ramp.flip(0).add(0.3);
    auto wanted = torch::autograd::grad({expected.logp.mul(ramp).sum().add(expected.entropy.mul(other).sum())},
                                        {in.hidden, in.weight});
    at::NoGradGuard no_grad;
    ops::ChunkShape shape{0.7, softcap, 7};
    auto found = ops::chunked_logp(in.hidden, in.weight, in.target, shape);
    EXPECT_LT(largest_difference(found.logp, expected.logp), 1e-12);
    EXPECT_LT(largest_difference(found.entropy, expected.entropy), 1e-12);
    auto gradients = ops::chunked_logp_backward(in.hidden, in.weight, in.target, shape, found, ramp, other, true, true);
    EXPECT_LT(largest_difference(gradients.hidden, wanted[0]), 1e-12) << softcap;
    EXPECT_LT(largest_difference(gradients.weight, wanted[1]), 1e-12) << softcap;
  }
}

}  // namespace
}  // namespace rft::linear_logp_test
