#include "rft/credit/gae.h"

#include <ATen/ATen.h>

#include <cmath>

#include "rft/core/extra.h"
#include "support.h"

namespace rft::gae_test {
namespace {

Gae make(const std::string& yaml) { return Gae(read_options<Gae::Options>(Config::parse(yaml))); }
double cell(const Tensor& x, int64_t i, int64_t t) { return x[i][t].item<double>(); }

/// Four rows of six columns; tool output in the midst of the first, nothing decided in the last.
Experience rows() {
  at::manual_seed(3);
  auto noise = [] { return at::randn({4, 6}, at::kDouble); };
  Experience batch;
  batch.mask =
      at::tensor({1, 1, 0, 0, 1, 1, 1, 1, 1, 0, 0, 0, 0, 1, 1, 1, 1, 0, 0, 0, 0, 0, 0, 0}).view({4, 6}).to(at::kBool);
  batch.logp = noise();
  batch.ref_logp = batch.logp.add(noise(), 0.3);
  batch.group = at::tensor({0, 0, 1, 1}, at::kLong);
  batch.reward = at::tensor({1.0, -2.0, 0.5, 3.0}, at::kDouble);
  batch.extra.set(extra::old_value, noise());
  return batch;
}

/// The definition, over each row's decisions alone: A_k = sum_l (gamma lambda)^l (r + gamma V' - V) at k + l.
Tensor advantages(const Experience& batch, const Tensor& reward, double gamma, double lambda) {
  Tensor out = at::zeros_like(reward), value = batch.extra.tensor(extra::old_value);
  for (int64_t i = 0; i < reward.size(0); ++i) {
    std::vector<int64_t> decisions;
    for (int64_t t = 0; t < reward.size(1); ++t)
      if (batch.mask[i][t].item<bool>()) decisions.push_back(t);
    for (size_t k = 0; k < decisions.size(); ++k) {
      double sum = 0;
      for (size_t l = k; l < decisions.size(); ++l) {
        double next = l + 1 < decisions.size() ? cell(value, i, decisions[l + 1]) : 0;
        double change = cell(reward, i, decisions[l]) + gamma * next - cell(value, i, decisions[l]);
        sum += std::pow(gamma * lambda, static_cast<double>(l - k)) * change;
      }
      out[i][decisions[k]] = sum;
    }
  }
  return out;
}

void expect_close(const Tensor& got, const Tensor& expected) {
  EXPECT_LE(got.sub(expected).abs().max().item<double>(), 1e-12);
}

/// The row's reward at its last decision.
Tensor at_the_end(const Experience& batch) {
  Tensor out = at::zeros({4, 6}, at::kDouble);
  int64_t last[] = {5, 2, 4};
  for (int64_t i = 0; i < 3; ++i) out[i][last[i]] = batch.reward[i];
  return out;
}

TEST(Gae, IsItsDefinitionOverTheDecisionsAlone) {
  for (auto [gamma, lambda] : {std::pair{1.0, 0.95}, {0.9, 0.5}, {0.97, 1.0}, {0.9, 0.0}}) {
    Experience batch = rows();
    Metrics metrics;
    make(cat("{gamma: ", gamma, ", lambda: ", lambda, ", kl_weight: 0, whiten_advantages: false}"))
        .assign(batch, metrics);
    Tensor expected = advantages(batch, at_the_end(batch), gamma, lambda);
    expect_close(batch.advantage, expected);
    Tensor value = batch.extra.tensor(extra::old_value).mul(batch.mask);
    expect_close(batch.extra.tensor(extra::returns), expected.add(value));
    EXPECT_NEAR(metrics.mean("reward"), 2.5 / 4, 1e-12);
    EXPECT_FALSE(metrics.has("kl"));
  }
}

TEST(Gae, RewardsOfDecisionsStandWhereTheyAreGiven) {
  Experience batch = rows();
  batch.reward = at::randn({4, 6}, at::kDouble);
  batch.reward[0][2] = std::nan("");  // a masked column
  Metrics metrics;
  make("{gamma: 0.9, kl_weight: 0, whiten_advantages: false, reward_clip: [-0.5, 0.4]}").assign(batch, metrics);
  Tensor clipped = at::where(batch.mask, batch.reward.clamp(-0.5, 0.4), at::zeros({}, at::kDouble));
  expect_close(batch.advantage, advantages(batch, clipped, 0.9, 0.95));
}

TEST(Gae, TheKlIsTakenOffEveryDecisionsReward) {
  for (std::string estimator : {"k1", "k2", "k3"}) {
    Experience batch = rows();
    Metrics metrics;
    make("{kl_weight: 0.2, whiten_advantages: false, kl_estimator: " + estimator + "}").assign(batch, metrics);
    Tensor x = batch.logp.sub(batch.ref_logp);
    Tensor kl = estimator == "k1" ? x : estimator == "k2" ? x.square().div(2) : x.neg().exp().add(x).sub(1);
    kl = kl.mul(batch.mask);
    expect_close(batch.advantage, advantages(batch, at_the_end(batch).sub(kl, 0.2), 1, 0.95));
    EXPECT_NEAR(metrics.mean("kl"), kl.sum().item<double>() / 11, 1e-12);
  }
}

TEST(Gae, WhitensOverTheDecisionsOfTheBatch) {
  Experience plain = rows(), white = rows();
  Metrics metrics;
  make("{kl_weight: 0, whiten_advantages: false}").assign(plain, metrics);
  make("{kl_weight: 0}").assign(white, metrics);
  Tensor values = plain.advantage.masked_select(plain.mask);
  double mean = values.mean().item<double>(), variance = values.var(true).item<double>();
  expect_close(white.advantage, plain.advantage.sub(mean).div(std::sqrt(variance + 1e-8)).mul(plain.mask));
  expect_close(white.extra.tensor(extra::returns), plain.extra.tensor(extra::returns));

  Experience scaled = rows();
  make("{kl_weight: 0, whiten_advantages: false, whiten_rewards: true}").assign(scaled, metrics);
  Tensor reward = at_the_end(scaled), all = reward.masked_select(scaled.mask);
  double centre = all.mean().item<double>(), spread = all.var(true).item<double>();
  Tensor whitened = reward.sub(centre).div(std::sqrt(spread + 1e-8)).add(centre).mul(scaled.mask);
  expect_close(scaled.advantage, advantages(scaled, whitened, 1, 0.95));
}

TEST(Gae, ARowWithoutARewardIsLeftOut) {
  Experience batch = rows(), others = rows();
  batch.reward[1] = std::nan("");
  Metrics metrics;
  make("{}").assign(batch, metrics);
  EXPECT_EQ(batch.advantage[1].abs().sum().item<double>(), 0);
  EXPECT_TRUE(batch.extra.tensor(extra::returns)[1].equal(batch.extra.tensor(extra::old_value)[1].mul(batch.mask[1])));
  others = others.select(at::tensor({0, 2, 3}, at::kLong));
  make("{}").assign(others, metrics);
  expect_close(batch.advantage.index_select(0, at::tensor({0, 2, 3}, at::kLong)), others.advantage);
}

TEST(Gae, GarbageWhereMaskedReachesNothing) {
  Experience clean = rows(), spoiled = rows();
  Tensor hidden = spoiled.mask.logical_not();
  spoiled.extra.set(extra::old_value, spoiled.extra.tensor(extra::old_value).masked_fill(hidden, std::nan("")));
  spoiled.logp = spoiled.logp.masked_fill(hidden, std::nan(""));
  Metrics metrics;
  make("{}").assign(clean, metrics), make("{}").assign(spoiled, metrics);
  EXPECT_TRUE(spoiled.advantage.equal(clean.advantage));
  EXPECT_TRUE(spoiled.extra.tensor(extra::returns).equal(clean.extra.tensor(extra::returns)));
}

TEST(Gae, AsksForACriticAndSaysWhereThereIsNone) {
  EXPECT_TRUE(make("{}").needs().value && make("{}").needs().reward && make("{}").needs().ref_logp);
  EXPECT_FALSE(make("{kl_weight: 0}").needs().ref_logp);
  Experience batch = rows();
  batch.extra.erase(extra::old_value);
  Metrics metrics;
  EXPECT_NE(testing::message_of<RunError>([&] { make("{}").assign(batch, metrics); }).find("old_value"),
            std::string::npos);
  EXPECT_NE(testing::message_of([] { make("{reward_clip: [1]}"); }).find("reward_clip"), std::string::npos);
}

TEST(Gae, ClippedAdvantagesLeaveTheReturnsAlone) {
  Experience plain = rows(), clipped = rows();
  Metrics metrics;
  make("{kl_weight: 0}").assign(plain, metrics);
  make("{kl_weight: 0, advantage_clip: 0.6}").assign(clipped, metrics);
  EXPECT_GT(plain.advantage.abs().max().item<double>(), 0.7);
  expect_close(clipped.advantage, plain.advantage.clamp(-0.6, 0.6));
  expect_close(clipped.extra.tensor(extra::returns), plain.extra.tensor(extra::returns));
}

/// A chunk of n actions is n decisions whose values nobody asked for: with lambda 1, and 0.
TEST(Gae, GammaIsThatOfOneStepWhereDecisionsLastSeveral) {
  const double gamma = 0.9;
  for (double lambda : {1.0, 0.0}) {
    Experience batch;
    batch.mask = at::ones({1, 3}, at::kBool), batch.group = at::zeros({1}, at::kLong);
    batch.reward = at::tensor({1.0, -2.0, 0.5}, at::kDouble).view({1, 3});
    batch.extra.set(extra::old_value, at::tensor({0.3, 1.2, -0.7}, at::kDouble).view({1, 3}));
    batch.extra.set(extra::next_value, at::tensor({1.2, -0.7, 2.0}, at::kDouble).view({1, 3}));
    batch.extra.set(extra::last, at::zeros({1, 3}, at::kBool));
    batch.extra.set(extra::duration, at::tensor({4.0f, 4.0f, 2.0f}).view({1, 3}));
    Metrics metrics;
    make(cat("{gamma: ", gamma, ", lambda: ", lambda, ", kl_weight: 0, whiten_advantages: false}"))
        .assign(batch, metrics);
    double last = 0.5 + std::pow(gamma, 2) * 2.0, middle = -2 + std::pow(gamma, 4) * (lambda == 1 ? last : -0.7);
    double first = 1 + std::pow(gamma, 4) * (lambda == 1 ? middle : 1.2);
    expect_close(batch.extra.tensor(extra::returns), at::tensor({first, middle, last}, at::kDouble).view({1, 3}));
  }
}

}  // namespace
}  // namespace rft::gae_test
