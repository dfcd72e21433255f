#pragma once
/// Work on rows, divided among the processes of a run: each does its share, all get every row.
#include "rft/dist/communicator.h"
#include "rft/policy/policy.h"
#include "rft/reward/reward_model.h"

namespace rft {

/// policy.sample(contexts, request), or ReferenceSampler's, the same rows for any number of processes. `processes` may
/// be null. Throws UserError where the policy's reference does not sample.
Experience sample_together(Communicator* processes, Policy& policy, const Experience& contexts,
                           const SampleRequest& request, bool by_reference = false);
/// policy.evaluate(batch, needs) without gradients: logp, and entropy and value where `needs` names them.
Evaluation evaluate_together(Communicator* processes, Policy& policy, const Experience& batch, const Needs& needs);
/// policy.ref_logp(batch, needs).
Tensor ref_logp_together(Communicator* processes, Policy& policy, const Experience& batch, const Needs& needs);
/// model.score(batch): each process its share where the model scores every row by itself (RewardModel::per_row), else
/// all of them everywhere. Divided rewards carry no graph.
Rewards score_together(Communicator* processes, RewardModel& model, const Experience& batch);

}  // namespace rft
