#include "rft/rollout/spread.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

#include "rft/core/clock.h"
#include "rft/core/error.h"
#include "rft/core/extra.h"
#include "rft/dist/exchange.h"
#include "rft/policy/judges_tokens.h"
#include "rft/policy/reference_sampler.h"
#include "rft/rollout/reward_columns.h"
#include "rollout/own_answers.h"
#include "rollout/scored_pieces.h"

namespace rft {
namespace {

/// A whole sampling, and its rewards after it where `reward` is not null.
Experience sample_then_score(Policy& policy, RewardModel* reward, const Experience& contexts,
                             const SampleRequest& request, ScoringSpent& spent) {
  Experience rows = policy.sample(contexts, request);
  if (!reward) return rows;
  Clock clock;
  at::NoGradGuard no_grad;
  add_reward_columns(rows, reward->score(rows));
  spent.waited += clock.seconds();
  return rows;
}

}  // namespace

Experience sample_together(Communicator* processes, Policy& policy, const Experience& contexts,
                           const SampleRequest& request, bool by_reference) {
  auto* reference = by_reference ? dynamic_cast<ReferenceSampler*>(&policy) : nullptr;
  if (by_reference && !reference)
    bad_input("rollout.reference_answers", "the reference of this type of policy does not sample; causal_lm's does");
  return all_answers(processes,
                     own_share(processes, contexts, request, [&](const Experience& asked, const SampleRequest& how) {
                       return reference ? reference->sample_reference(asked, how) : policy.sample(asked, how);
                     }));
}

Experience sample_and_score_together(const Sharing& sharing, Policy& policy, RewardModel* reward,
                                     const Experience& contexts, const SampleRequest& request, ScoringSpent& spent) {
  if (reward && !reward->per_row()) reward = nullptr;
  auto* sampler = dynamic_cast<SamplesPieces*>(&policy);
  bool pieces = sampler && pieces_of(contexts.context.rows(), request.group_size).size() > 1;
  Experience mine =
      pieces && (reward || sharing.processes)
          ? own_answers(sharing, *sampler, reward, contexts, request, spent)
          : own_share(sharing.processes, contexts, request, [&](const Experience& asked, const SampleRequest& how) {
              return sample_then_score(policy, reward, asked, how, spent);
            });
  return all_answers(sharing.processes, std::move(mine));
}

Evaluation evaluate_together(Communicator* processes, Policy& policy, const Experience& batch, const Needs& needs) {
  at::NoGradGuard no_grad;
  if (!processes) return policy.evaluate(batch, needs);
  Share share = share_of(processes, batch.rows());
  Evaluation mine, all;
  if (share.count > 0) mine = policy.evaluate(batch.narrow(share.first, share.count), needs);
  all.logp = gather_rows(*processes, mine.logp);
  if (needs.entropy) all.entropy = gather_rows(*processes, mine.entropy);
  if (needs.value) all.value = gather_rows(*processes, mine.value);
  return all;
}

Tensor ref_logp_together(Communicator* processes, Policy& policy, const Experience& batch, const Needs& needs) {
  if (!processes) return policy.ref_logp(batch, needs);
  Share share = share_of(processes, batch.rows());
  Tensor mine;
  if (share.count > 0) mine = policy.ref_logp(batch.narrow(share.first, share.count), needs);
  return gather_rows(*processes, mine);
}

void influence_together(Communicator* processes, Policy& policy, Experience& batch) {
  auto* judge = dynamic_cast<JudgesTokens*>(&policy);
  if (!judge)
    bad_input("objective", "what tokens do to right answers (thr) is known of language models of type causal_lm alone");
  Tensor counts = std::get<2>(at::unique_consecutive(batch.group, false, /*return_counts=*/true));
  Share groups = share_of(processes, counts.numel());
  int64_t first = counts.narrow(0, 0, groups.first).sum().item<int64_t>(),
          count = counts.narrow(0, groups.first, groups.count).sum().item<int64_t>();
  JudgesTokens::Influence mine;
  if (count > 0) mine = judge->token_influence(batch.narrow(first, count));
  if (processes) mine = {gather_rows(*processes, mine.influence), gather_rows(*processes, mine.anchor)};
  batch.extra.set(extra::token_influence, mine.influence);
  batch.extra.set(extra::influence_anchor, mine.anchor);
}

Rewards score_together(Communicator* processes, RewardModel& model, const Experience& batch) {
  if (!processes || !model.per_row() || batch.rows() == 0) {
    Rewards rewards = model.score(batch);
    check_rewards(rewards, batch.rows());
    return rewards;
  }
  Share share = share_of(processes, batch.rows());
  Experience mine;
  if (share.count > 0) {
    at::NoGradGuard no_grad;
    const Experience part = batch.narrow(share.first, share.count);
    mine.mask = at::ones({share.count, 1}, at::kBool);  // so that it has rows
    add_reward_columns(mine, model.score(part));
  }
  Experience all = gather_rows(*processes, mine);
  return take_reward_columns(all);
}

Rewards rewards_together(Communicator* processes, RewardModel& model, Experience& batch) {
  return has_reward_columns(batch) ? take_reward_columns(batch) : score_together(processes, model, batch);
}

}  // namespace rft
