#include "rft/rollout/spread.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

#include "rft/dist/exchange.h"

namespace rft {

Experience sample_together(Communicator* processes, Policy& policy, const Experience& contexts,
                           const SampleRequest& request) {
  if (!processes) return policy.sample(contexts, request);
  Share share = share_of(processes, contexts.context.rows());
  Experience mine;
  if (share.count > 0) {
    SampleRequest part = request;
    part.first_context += share.first;
    mine = policy.sample(contexts.narrow(share.first, share.count), part);
    mine.group = mine.group.add(share.first);
  }
  return gather_rows(*processes, mine);
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

}  // namespace rft
