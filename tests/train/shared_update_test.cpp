/// An update divided among processes, each with a policy, a reward and an optimizer of its own.
#include <ATen/ATen.h>

#include "../policy/linear_denoiser.h"
#include "learning.h"
#include "thread_ranks.h"

namespace rft::shared_update_test {
namespace {

/// -(mean brightness - 0.8)^2, differentiable; counts what it scores.
class CountedBrightness : public RewardModel {
 public:
  Rewards score(const Experience& batch) override {
    rows += batch.rows();
    Rewards out;
    out.value = batch.extra.tensor(extra::image).flatten(1).mean(1).sub(0.8).square().neg();
    out.components.push_back({"brightness", out.value, 1});
    return out;
  }
  int64_t rows = 0;
};

struct Updated {
  int64_t scored = 0;
  std::vector<Tensor> weights;
};

/// One update of draft on 12 rows, as each of `size` processes sees it.
std::vector<Updated> updated(int64_t size, Sharding sharding) {
  std::vector<Updated> out(static_cast<size_t>(size));
  testing::ThreadRanks::run(size, [&](Communicator& processes) {
    auto policy = testing::linear_policy("{steps: 3, eta: 1.0}", at::kFloat);
    auto objective = registry<Objective>().make(testing::parsed("{type: draft, last_steps: 0}"));
    CountedBrightness reward;
    Optimizer optimizer(policy->parameters(), {}, {&processes, sharding});
    Experience batch;
    batch.context.set_text(extra::prompt, std::vector<std::string>(12));
    batch.mask = at::ones({12, 1}, at::kBool);
    batch.extra.set(extra::draw, at::arange(24, at::kLong).mul(7919).view({12, 2}));
    UpdateOptions options;
    options.lr = 0.05, options.reward = &reward, options.processes = &processes;
    Metrics metrics;
    EXPECT_TRUE(update(*policy, *objective, optimizer, batch, objective->needs(), options, metrics).finite);
    Updated& mine = out[static_cast<size_t>(processes.rank())];
    mine.scored = reward.rows;
    for (const auto& p : policy->parameters()) mine.weights.push_back(p.value.detach().clone());
  });
  return out;
}

TEST(SharedUpdate, ARewardWithAGradientScoresItsProcessesSamplesAlone) {
  register_builtins();
  Updated whole = updated(1, Sharding::none)[0];
  EXPECT_EQ(whole.scored, 12);
  for (int64_t size : {2, 3})
    for (Sharding sharding : {Sharding::none, Sharding::optimizer, Sharding::gradients})
      for (const Updated& mine : updated(size, sharding)) {
        EXPECT_EQ(mine.scored, 12 / size);
        for (size_t i = 0; i < whole.weights.size(); ++i)
          EXPECT_TRUE(at::allclose(mine.weights[i], whole.weights[i], 1e-5, 1e-6)) << size << " " << i;
      }
}

}  // namespace
}  // namespace rft::shared_update_test
