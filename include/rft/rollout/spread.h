#pragma once
/// Work on rows, divided among the processes of a run: each does its share, all get every row.
#include <vector>

#include "rft/dist/communicator.h"
#include "rft/policy/policy.h"
#include "rft/reward/reward_model.h"

namespace rft {

/// policy.sample(contexts, request), or ReferenceSampler's, the same rows for any number of processes. `processes` may
/// be null. Throws UserError where the policy's reference does not sample.
Experience sample_together(Communicator* processes, Policy& policy, const Experience& contexts,
                           const SampleRequest& request, bool by_reference = false);
/// Who samples a rollout together.
struct Sharing {
  Communicator* processes = nullptr;  ///< null: one process
  /// How many decisions the answers to each context are expected to have, [C]; empty: nothing is known.
  std::vector<double> expected = {};
};
struct ScoringSpent {
  double waited = 0;  ///< seconds, for rewards when all was sampled
  double beside = 0;  ///< seconds of computing rewards while sampling went on
};
/// The policy's own answers, the same rows for any number of processes, with what they are worth (reward_columns.h)
/// where `reward` is not null and scores every row by itself. Where the policy SamplesPieces the first rows are scored
/// on another thread while the last are sampled, in pieces that depend on the number of contexts alone; and each of
/// several processes gets pieces of which about as many decisions are expected as of the others'.
Experience sample_and_score_together(const Sharing& sharing, Policy& policy, RewardModel* reward,
                                     const Experience& contexts, const SampleRequest& request, ScoringSpent& spent);
/// policy.evaluate(batch, needs) without gradients: logp, and entropy and value where `needs` names them.
Evaluation evaluate_together(Communicator* processes, Policy& policy, const Experience& batch, const Needs& needs);
/// policy.ref_logp(batch, needs).
Tensor ref_logp_together(Communicator* processes, Policy& policy, const Experience& batch, const Needs& needs);
/// Sets extra::token_influence and influence_anchor by JudgesTokens; a group's rows follow each other in `batch`.
/// Throws UserError where the policy has none.
void influence_together(Communicator* processes, Policy& policy, Experience& batch);
/// model.score(batch): each process its share where the model scores every row by itself (RewardModel::per_row), else
/// all of them everywhere. Divided rewards carry no graph. Throws RunError where it does not give one value a row.
Rewards score_together(Communicator* processes, RewardModel& model, const Experience& batch);
/// What sample_and_score_together() brought along, which leaves `batch`, or score_together().
Rewards rewards_together(Communicator* processes, RewardModel& model, Experience& batch);

}  // namespace rft
