// A GFlowNet ends in every cell of a hypergrid with the probability of its reward over the sum of all.
#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

#include <cmath>

#include "control_runs.h"
#include "rft/core/extra.h"
#include "rft/env/hypergrid.h"
#include "rft/policy/actor.h"

namespace rft {
namespace {

constexpr int64_t kSide = 8;

/// [side * side, 3]: the probability of each choice in each cell, by the policy in `directory`.
Tensor choices_of(const std::string& directory, const Hypergrid& grid) {
  auto policy = registry<Policy>().make(Config::parse(
      "{type: categorical, hidden: [64, 64], activation: relu, normalize_observations: false, path: " + directory +
      "}"));
  auto& actor = dynamic_cast<Actor&>(*policy);
  actor.enter(grid.spec(), {}, 0);
  int64_t D = grid.spec().observation, N = kSide * kSide;
  Tensor seen = at::zeros({N, D});
  for (int64_t i = 0; i < kSide; ++i)
    for (int64_t j = 0; j < kSide; ++j) {
      Tensor one = seen[i * kSide + j];
      one[i].fill_(1), one[kSide + j].fill_(1);
      one[2 * kSide].fill_(i + 1 < kSide), one[2 * kSide + 1].fill_(j + 1 < kSide), one[2 * kSide + 2].fill_(1);
    }
  at::NoGradGuard no_grad;
  std::vector<Tensor> out;
  for (int64_t choice = 0; choice < 3; ++choice) {
    Experience batch;
    batch.context.set(extra::observation, seen.unsqueeze(1));
    batch.action = at::full({N, 1, 1}, choice, at::kLong), batch.mask = at::ones({N, 1}, at::kBool);
    out.push_back(actor.evaluate(batch, {}).logp.squeeze(1).exp().to(at::kDouble));
  }
  return at::stack(out, 1);
}

/// The sum over cells of |the probability to end there - its reward's share|, exactly.
double distance(const std::string& directory) {
  Hypergrid grid({.dimensions = 2, .side = kSide});
  Tensor p = choices_of(directory, grid).contiguous();
  auto at = p.accessor<double, 2>();
  std::vector<double> arrives(kSide * kSide, 0), ends(kSide * kSide), reward(kSide * kSide);
  arrives[0] = 1;
  double total = 0;
  for (int64_t i = 0; i < kSide; ++i)
    for (int64_t j = 0; j < kSide; ++j) {
      int64_t cell = i * kSide + j;
      auto here = static_cast<size_t>(cell);
      if (i + 1 < kSide) arrives[here + kSide] += arrives[here] * at[cell][0];
      if (j + 1 < kSide) arrives[here + 1] += arrives[here] * at[cell][1];
      ends[here] = arrives[here] * at[cell][2];
      double x[] = {static_cast<double>(i), static_cast<double>(j)};
      total += reward[here] = grid.reward_of(x);
    }
  double sum = 0;
  for (size_t i = 0; i < ends.size(); ++i) sum += std::abs(ends[i] - reward[i] / total);
  return sum;
}

TEST(GFlowNet, EndsWhereTheRewardIsInItsProportion) {
  register_builtins();
  testing::TempDir dir;
  for (auto [balance, steps] : {std::pair{"tb", 700}, {"subtb", 700}, {"db", 700}}) {
    testing::run_recipe(dir, balance,
                        std::string(R"(
environment: {type: hypergrid, dimensions: 2, side: 8}
policy: {type: categorical, hidden: [64, 64], activation: relu, normalize_observations: false}
rollout: {environments: 32, eval_episodes: 8}
objective: {type: gflownet, balance: )") +
                            balance + R"(}
train: {batch_size: 32, log_every: 500, samples_every: 0, checkpoint_every: 0, optimizer: {lr: 5.0e-3},
        schedule: {type: cosine}, steps: )" +
                            std::to_string(steps) + "}\n");
    double off = distance(dir / (std::string(balance) + "/final"));
    std::printf("%s: L1 distance %.4f after %d steps\n", balance, off, steps);
    EXPECT_LT(off, 0.02) << balance;
  }
}

}  // namespace
}  // namespace rft
