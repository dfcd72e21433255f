// A table of all sequences' probabilities and a reward that prefers one of them: each way of learning finds it.
#include <ATen/ATen.h>

#include "../policy/table_denoiser.h"
#include "learning.h"

namespace rft::masked_learning_test {
namespace {

using testing::Way;

/// The product of what 1, 0, 1 share with the sequence's tokens: 1 for that sequence alone.
class Motif : public RewardModel {
 public:
  Rewards score(const Experience& batch) override {
    Tensor x = batch.extra.find(extra::one_hot);
    if (!x.defined()) x = at::one_hot(batch.action, 3).to(at::kDouble);
    auto at = [&](int64_t l, int64_t token) { return x.select(1, l).select(1, token); };
    Rewards out;
    // A share of each token's own, so that the gradient is not lost where the others are wrong.
    Tensor each = at(0, 1).add(at(1, 0)).add(at(2, 1)).div(3);
    out.value = at(0, 1).mul(at(1, 0)).mul(at(2, 1)).add(each).div(2);
    out.components.push_back({"motif", out.value, 1});
    return out;
  }
};

Experience contexts(int64_t rows) {
  Experience out;
  out.context.set("tokens", at::full({rows, 3}, 2, at::kLong));
  return out;
}

class MaskedLearning : public ::testing::TestWithParam<Way> {};

TEST_P(MaskedLearning, FindsTheSequence) {
  const Way& way = GetParam();
  auto policy = testing::table_policy(cat("{steps: 2", way.rollout, "}"));
  Motif reward;
  double before = testing::mean_reward(*policy, reward, contexts, 256);
  testing::learn(*policy, reward, policy->parameters(), contexts, way);
  double after = testing::mean_reward(*policy, reward, contexts, 256);
  EXPECT_LT(before, 0.7);
  EXPECT_GT(after, 0.95);
}

constexpr char kGroups[] = "{type: group_normalized}";

INSTANTIATE_TEST_SUITE_P(All, MaskedLearning,
                         ::testing::Values(Way{"drakes", "{type: draft, last_steps: 0}", "", "", 100, 0.1},
                                           Way{"drakes_last_step", "{type: draft, last_steps: 1}", "", "", 100, 0.1},
                                           Way{"straight_through", "{type: draft, last_steps: 0}", "", "", 100, 0.1,
                                               ", relaxation: straight_through"},
                                           Way{"ppo", "{type: ppo, value_weight: 0}", kGroups, "", 80, 0.1},
                                           Way{"grpo", "{type: grpo}", kGroups, "", 80, 0.1},
                                           Way{"reinforce", "{type: reinforce}", kGroups, "", 80, 0.1},
                                           Way{"raft", "{type: raft}", "", "{type: best_of_n}", 80, 0.1},
                                           Way{"rwr", "{type: rwr, temperature: 0.5}", kGroups, "", 80, 0.1},
                                           Way{"dpo", "{type: dpo, beta: 0.5}", "", "{type: best_worst}", 80, 0.1},
                                           Way{"prdp", "{type: prdp, beta: 0.05}", "", "{type: best_worst}", 80, 0.1},
                                           Way{"grpo_on_the_bound", "{type: grpo}", kGroups, "", 80, 0.1,
                                               ", judge: forward"}),
                         testing::name_of);

}  // namespace
}  // namespace rft::masked_learning_test
