/// What is known of tokens is asked of the groups alone that a selector keeps, where it keeps these whole.
#include "rft/rollout/collector.h"

#include <ATen/ATen.h>

#include "rft/credit/group_normalized.h"
#include "rft/policy/judges_tokens.h"
#include "rft/select/best_of_n.h"
#include "rft/select/pass_rate.h"
#include "riddles.h"
#include "support.h"

namespace rft::collector_test {
namespace {

/// Knows of each token how many answers of its group are right.
class Knowing : public testing::Riddles, public JudgesTokens {
 public:
  int64_t judged = 0;
  Influence token_influence(const Experience& batch) override {
    judged += batch.rows();
    Tensor right = batch.advantage.select(1, 0).gt(0).to(at::kFloat);
    Tensor same = batch.group.unsqueeze(0).eq(batch.group.unsqueeze(1)).to(at::kFloat);
    Tensor count = same.matmul(right.unsqueeze(1)).squeeze(1);
    return {count.unsqueeze(1).expand(batch.mask.sizes()).contiguous(), count};
  }
};

/// Whether the last digit is below 3, and always where the context's number is a multiple of 4, never where it is one
/// more.
class Graded : public RewardModel {
 public:
  Rewards score(const Experience& batch) override {
    Rewards out;
    std::vector<float> values;
    const auto& texts = batch.context.text(extra::completion);
    for (size_t i = 0; i < texts.size(); ++i) {
      int64_t kind = batch.context.tensor("number")[static_cast<int64_t>(i)].item<int64_t>() % 4;
      values.push_back(kind == 0 || (kind != 1 && texts[i].back() < '3') ? 1 : 0);
    }
    out.value = at::tensor(values);
    out.components = {{"graded", out.value, 1}};
    return out;
  }
};

Experience collected(Knowing& policy, Selector& selector) {
  Graded reward;
  GroupNormalized credit{GroupNormalized::Options{}};
  RolloutSlots slots{policy, &reward, &credit, selector};
  CollectOptions options;
  options.group_size = 6, options.batch_size = 48, options.needs.token_influence = true;
  RowCursor cursor(8, false, 1);
  Metrics metrics;
  return collect(slots, testing::Riddles::contexts(8), cursor, 5, options, metrics);
}

TEST(Collect, AsksAboutTheTokensOfKeptGroupsAlone) {
  Knowing policy;
  PassRate some({0.1, 0.9, 1});
  Experience batch = collected(policy, some);
  ASSERT_GT(batch.rows(), 0);
  EXPECT_EQ(batch.rows() % 6, 0);
  EXPECT_LE(batch.rows(), 24);  // the other four groups are always or never right
  EXPECT_EQ(policy.judged, batch.rows());
  Tensor known = batch.extra.tensor(extra::influence_anchor);
  EXPECT_GT(known.min().item<float>(), 0);
  EXPECT_LT(known.max().item<float>(), 6);
}

TEST(Collect, AsksAboutAllWhereASelectorTakesGroupsApart) {
  Knowing policy;
  BestOfN best({1, {}});
  Experience batch = collected(policy, best);
  EXPECT_EQ(batch.rows(), 8);
  EXPECT_EQ(policy.judged, 48);
  // The best of a group knows of all its right answers.
  EXPECT_GT(batch.extra.tensor(extra::influence_anchor).max().item<float>(), 1);
}

}  // namespace
}  // namespace rft::collector_test
