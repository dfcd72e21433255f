// Balance losses against their definitions, written as loops.
#include "rft/objective/gflownet.h"

#include <ATen/ATen.h>
#include <torch/csrc/autograd/autograd.h>

#include <cmath>

#include "rft/core/extra.h"
#include "support.h"
#include "tests/conformance/conformance.h"

namespace rft::gflownet_test {
namespace {

const int64_t kLength[] = {4, 1, 3};

struct Case {
  Evaluation now;
  Experience batch;
};

/// Three rows of up to 4 decisions; garbage where nothing was decided.
Case make_case() {
  at::manual_seed(1);
  Case out;
  auto noise = [] { return at::randn({3, 4}, at::kDouble); };
  out.now.logp = noise().abs().neg().requires_grad_(true), out.now.value = noise().requires_grad_(true);
  out.batch.mask = at::zeros({3, 4}, at::kBool);
  for (int64_t i = 0; i < 3; ++i) out.batch.mask[i].narrow(0, 0, kLength[i]).fill_(true);
  out.batch.logp = out.now.logp.detach().clone();
  out.batch.group = at::arange(3);
  out.batch.reward = at::tensor({0.5, 2.0, 1e-9}, at::kDouble);
  Tensor back = noise().abs().neg();
  back.index_put_({out.batch.mask.logical_not()}, at::scalar_tensor(std::nan(""), at::kDouble));
  out.batch.extra.set(extra::backward_logp, back);
  out.batch.fill_totals();
  return out;
}

/// The loss of one row, from numbers.
double expected(const Case& c, int64_t i, const std::string& balance, double lambda, double log_reward) {
  int64_t n = kLength[i];
  std::vector<double> d;
  for (int64_t t = 0; t < n; ++t) {
    double after = t + 1 < n ? c.now.value[i][t + 1].item<double>() : log_reward;
    d.push_back(c.now.value[i][t].item<double>() + c.now.logp[i][t].item<double>() - after -
                c.batch.extra.tensor(extra::backward_logp)[i][t].item<double>());
  }
  double sum = 0, weights = 0;
  for (int64_t a = 0; a < n; ++a)
    for (int64_t b = a + 1; b <= n; ++b) {
      double weight = balance == "tb" ? (a == 0 && b == n) : balance == "db" ? b == a + 1 : std::pow(lambda, b - a);
      double piece = 0;
      for (int64_t t = a; t < b; ++t) piece += d[static_cast<size_t>(t)];
      sum += weight * piece * piece, weights += weight;
    }
  return sum / weights;
}

TEST(GFlowNetLoss, IsItsDefinition) {
  for (std::string balance : {"tb", "db", "subtb"}) {
    Case c = make_case();
    GFlowNet objective({.balance = balance, .subtb_lambda = 0.7, .reward_exponent = 2, .reward_floor = 1e-3});
    double got = objective.loss(c.now, c.batch).total().item<double>();
    double sum = 0, log_rewards[] = {2 * std::log(0.5), 2 * std::log(2.0), 2 * std::log(1e-3)};
    for (int64_t i = 0; i < 3; ++i) sum += expected(c, i, balance, 0.7, log_rewards[i]);
    EXPECT_NEAR(got, sum / 3, 1e-10) << balance;
  }
}

TEST(GFlowNetLoss, IsWhatEveryObjectiveMustBe) {
  for (std::string balance : {"tb", "db", "subtb"}) {
    testing::ObjectiveCase c;
    c.name = balance;
    c.make = [balance] { return std::make_unique<GFlowNet>(GFlowNet::Options{.balance = balance}); };
    c.example = testing::critic_example;
    testing::check_objective(c);
  }
}

TEST(GFlowNetLoss, ItsGradientIsFiniteDifferences) {
  for (std::string balance : {"tb", "db", "subtb"}) {
    Case c = make_case();
    GFlowNet objective({.balance = balance});
    auto loss = [&] { return objective.loss(c.now, c.batch).total(); };
    auto grads = torch::autograd::grad({loss()}, {c.now.logp, c.now.value}, {}, {}, false, true);
    at::NoGradGuard no_grad;
    for (size_t k = 0; k < 2; ++k) {
      Tensor x = k == 0 ? c.now.logp : c.now.value;
      for (int64_t i = 0; i < 3; ++i)
        for (int64_t t = 0; t < 4; ++t) {
          Tensor cell = x[i][t];
          double h = 1e-5;
          cell.add_(h);
          double up = loss().item<double>();
          cell.sub_(2 * h);
          double down = loss().item<double>();
          cell.add_(h);
          double slope = grads[k].defined() ? grads[k][i][t].item<double>() : 0;
          EXPECT_NEAR(slope, (up - down) / (2 * h), 1e-6) << balance << " " << k << " " << i << " " << t;
        }
    }
  }
}

TEST(GFlowNetLoss, ALogRewardIsTakenAsItIsAndAMissingOneLeavesTheRowOut) {
  Case c = make_case();
  c.batch.reward = at::tensor({-1.0, std::nan(""), 0.5}, at::kDouble);
  GFlowNet objective({.log_reward = true});
  double got = objective.loss(c.now, c.batch).total().item<double>();
  EXPECT_NEAR(got, (expected(c, 0, "tb", 1, -1) + expected(c, 2, "tb", 1, 0.5)) / 3, 1e-10);
}

TEST(GFlowNetLoss, DecisionsWithAGapAreRefused) {
  Case c = make_case();
  c.batch.mask[0][1] = false;
  std::string message = testing::message_of<RunError>([&] { GFlowNet({}).loss(c.now, c.batch); });
  EXPECT_NE(message.find("stand together"), std::string::npos) << message;
}

}  // namespace
}  // namespace rft::gflownet_test
