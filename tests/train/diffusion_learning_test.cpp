// A linear denoiser and a quadratic reward: each way of learning from a reward brings the samples to the optimum.
#include <ATen/ATen.h>

#include "../policy/linear_denoiser.h"
#include "learning.h"

namespace rft::diffusion_learning_test {
namespace {

using testing::Way;

/// -(mean brightness - 0.8)^2, differentiable; the optimum is 0.
class Brightness : public RewardModel {
 public:
  Rewards score(const Experience& batch) override {
    Rewards out;
    out.value = batch.extra.tensor(extra::image).flatten(1).mean(1).sub(0.8).square().neg();
    out.components.push_back({"brightness", out.value, 1});
    return out;
  }
};

Experience contexts(int64_t rows) {
  Experience out;
  out.context.set_text(extra::prompt, std::vector<std::string>(static_cast<size_t>(rows)));
  return out;
}

class Learning : public ::testing::TestWithParam<Way> {};

TEST_P(Learning, ReachesTheOptimum) {
  const Way& way = GetParam();
  auto policy = testing::linear_policy(cat("{steps: 5, eta: 1.0", way.rollout, "}"), at::kFloat);
  for (auto& p : policy->parameters()) p.value.requires_grad_(p.name == "shift");
  Brightness reward;
  double before = testing::mean_reward(*policy, reward, contexts);
  testing::learn(*policy, reward, {policy->parameters()[1]}, contexts, way);
  double after = testing::mean_reward(*policy, reward, contexts);
  EXPECT_LT(before, -0.05) << "the start must be away from the optimum";
  EXPECT_GT(after, way.left * before) << "what is left is the samples' own spread";
}

constexpr char kForward[] = ", judge: forward, levels: 4";
constexpr char kGroups[] = "{type: group_normalized}";

INSTANTIATE_TEST_SUITE_P(
    All, Learning,
    ::testing::Values(
        Way{"draft", "{type: draft, last_steps: 0}", "", "", 60, 0.02},
        Way{"draft_last_step", "{type: draft, last_steps: 1}", "", "", 60, 0.05},
        Way{"draft_low_variance", "{type: draft, last_steps: 1, noise_repeats: 2}", "", "", 60, 0.05},
        Way{"draft_with_kl", "{type: draft, last_steps: 2, kl_weight: 1.0e-4}", "", "", 60, 0.02},
        Way{"refl", "{type: refl, min_level: 0.5, hinge: 1}", "", "", 80, 0.05},
        Way{"ddpo", "{type: ppo, clip_low: 1.0e-4, clip_high: 1.0e-4, value_weight: 0}", kGroups, "", 80, 0.02},
        Way{"grpo", "{type: grpo}", kGroups, "", 80, 0.02},
        Way{"rloo", "{type: rloo}", "{type: leave_one_out, kl_weight: 0}", "", 80, 0.02},
        Way{"reinforce", "{type: reinforce}", kGroups, "", 80, 0.02},
        Way{"raft", "{type: raft}", "", "{type: best_of_n}", 80, 0.02},
        Way{"d3po", "{type: dpo, beta: 1.0}", "", "{type: best_worst}", 80, 0.02},
        Way{"rpo", "{type: dpo, variant: soft_label, reward_scale: 0.01, beta: 0.3}", "", "{type: best_worst}", 120,
            0.02},
        Way{"prdp", "{type: prdp, beta: 0.01, clip: 0.5}", "", "{type: best_worst}", 120, 0.02},
        Way{"diffusion_nft", "{type: diffusion_nft}", kGroups, "", 80, 0.02, kForward},
        Way{"diffusion_nft_of_an_old_policy", "{type: diffusion_nft}", kGroups, "", 160, 0.04,
            ", judge: forward, levels: 4, behaviour_decay: 0.3"},
        Way{"awm", "{type: grpo}", kGroups, "", 80, 0.02, kForward},
        Way{"rwr", "{type: rwr, temperature: 0.5}", kGroups, "", 120, 0.02},
        // A regression on the model's own samples: where a linear model can't fit them, it stops on the way.
        Way{"flow_rwr", "{type: rwr, temperature: 0.3}", kGroups, "", 200, 0.02, kForward, 0.4},
        Way{"diffusion_dpo", "{type: dpo, beta: 10.0}", "", "{type: best_worst}", 80, 0.02, kForward}),
    testing::name_of);

const auto* const registered = ::testing::AddGlobalTestEnvironment(new testing::BuiltIns);

}  // namespace
}  // namespace rft::diffusion_learning_test
