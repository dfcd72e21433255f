#pragma once
/// Work on rows, divided among the processes of a run: each does its share, all get every row.
#include "rft/dist/communicator.h"
#include "rft/policy/policy.h"

namespace rft {

/// policy.sample(contexts, request), the same rows for any number of processes. `processes` may be null.
Experience sample_together(Communicator* processes, Policy& policy, const Experience& contexts,
                           const SampleRequest& request);
/// policy.evaluate(batch, needs) without gradients: logp, and entropy and value where `needs` names them.
Evaluation evaluate_together(Communicator* processes, Policy& policy, const Experience& batch, const Needs& needs);
/// policy.ref_logp(batch, needs).
Tensor ref_logp_together(Communicator* processes, Policy& policy, const Experience& batch, const Needs& needs);

}  // namespace rft
