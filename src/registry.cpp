#include "rft/core/registry.h"

#include "rft/credit/group_normalized.h"
#include "rft/credit/leave_one_out.h"
#include "rft/objective/gmpo.h"
#include "rft/objective/grpo.h"
#include "rft/objective/rloo.h"
#include "rft/objective/sft.h"
#include "rft/policy/causal_lm.h"
#include "rft/reward/length.h"
#include "rft/reward/math_answer.h"
#include "rft/reward/regex.h"
#include "rft/reward/weighted_sum.h"
#include "rft/select/all.h"
#include "rft/select/best_of_n.h"
#include "rft/select/dynamic_sampling.h"

/// The one file that names every implementation.

namespace rft {
namespace {

void register_policies() {
  auto& table = registry<Policy>();
  table.add<CausalLm>("causal_lm", "a decoder-only language model (Qwen2, Qwen3, Llama, GPT-2)",
                      "transformers' AutoModelForCausalLM");
}

void register_rewards() {
  auto& table = registry<RewardModel>();
  table.add<LengthReward>("length", "by the length of the completion",
                          "DAPO, arXiv:2503.14476; TRL get_soft_overlong_punishment");
  table.add<MathAnswer>("math_answer", "whether the final answer equals the dataset's",
                        "verifiable rewards, arXiv:2411.15124");
  table.add<RegexReward>("regex", "whether the completion matches a regular expression", "PCRE2");
  table.add<WeightedSum>("weighted_sum", "the weighted sum of several rewards", "TRL reward_weights");
}

void register_objectives() {
  auto& table = registry<Objective>();
  table.add<Sft>("sft", "supervised fine-tuning: the likelihood of given completions", "TRL SFTTrainer");
  table.add<Raft>("raft", "reward-ranked fine-tuning: the likelihood of the best of several samples",
                  "Dong et al. 2023, arXiv:2304.06767");
  table.add<Grpo>("grpo", "group-relative policy optimisation and its variants",
                  "Shao et al. 2024, arXiv:2402.03300; TRL GRPOTrainer");
  table.add<Gmpo>("gmpo", "geometric-mean policy optimisation", "Zhao et al. 2025, arXiv:2507.20673; TRL GMPOTrainer");
  table.add<Rloo>("rloo", "REINFORCE leave-one-out with a clipped sequence ratio",
                  "Ahmadian et al. 2024, arXiv:2402.14740; TRL RLOOTrainer");
}

void register_credits() {
  auto& table = registry<Credit>();
  table.add<GroupNormalized>("group_normalized",
                             "a reward less its group's mean, over the group's or the batch's spread",
                             "Shao et al. 2024, arXiv:2402.03300");
  table.add<LeaveOneOut>("leave_one_out", "a reward less the mean of the others in its group",
                         "Ahmadian et al. 2024, arXiv:2402.14740");
}

void register_selectors() {
  auto& table = registry<Selector>();
  table.add<SelectAll>("all", "every row", "");
  table.add<BestOfN>("best_of_n", "the best rows of each group", "Dong et al. 2023, arXiv:2304.06767");
  table.add<DynamicSampling>("dynamic_sampling", "groups whose rewards differ; more is drawn until the batch is full",
                             "DAPO, Yu et al. 2025, arXiv:2503.14476");
}

}  // namespace

void register_builtins() {
  static const bool once = [] {
    register_policies(), register_rewards(), register_objectives(), register_credits(), register_selectors();
    return true;
  }();
  (void)once;
}

}  // namespace rft
