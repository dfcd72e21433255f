#include "rft/rollout/spread.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

#include "rft/core/error.h"
#include "rft/core/extra.h"
#include "rft/core/text.h"
#include "rft/dist/exchange.h"
#include "rft/policy/reference_sampler.h"

namespace rft {
namespace {

constexpr char kErrors[] = "reward_errors";

/// Rewards as columns of rows, which can be exchanged and joined: a process without rows has none of them.
Experience columns_of(const Rewards& rewards, int64_t rows) {
  Experience out;
  out.reward = rewards.value;
  std::vector<std::string> names, errors = rewards.errors;
  std::vector<double> weights;
  for (const auto& component : rewards.components) {
    out.extra.set(cat("component.", names.size()), component.value);
    names.push_back(component.name), weights.push_back(component.weight);
  }
  errors.resize(static_cast<size_t>(rows));
  out.extra.set_text(kErrors, std::move(errors));
  out.extra.set_text(extra::reward_names, std::vector<std::string>(static_cast<size_t>(rows), join(names, ",")));
  out.extra.set(extra::reward_weights, at::tensor(weights, at::kDouble).expand({rows, -1}));
  return out;
}

Rewards rewards_of(const Experience& columns) {
  Rewards out;
  out.value = columns.reward;
  out.errors = columns.extra.text(kErrors);
  Tensor weights = columns.extra.tensor(extra::reward_weights);
  if (weights.size(1) == 0) return out;
  auto names = split(columns.extra.text(extra::reward_names).at(0), ',');
  for (size_t k = 0; k < names.size(); ++k)
    out.components.push_back(
        {names[k], columns.extra.tensor(cat("component.", k)), weights[0][static_cast<int64_t>(k)].item<double>()});
  return out;
}

}  // namespace

Experience sample_together(Communicator* processes, Policy& policy, const Experience& contexts,
                           const SampleRequest& request, bool by_reference) {
  auto* reference = by_reference ? dynamic_cast<ReferenceSampler*>(&policy) : nullptr;
  if (by_reference && !reference)
    bad_input("rollout.reference_answers", "the reference of this type of policy does not sample; causal_lm's does");
  auto sample = [&](const Experience& asked, const SampleRequest& how) {
    return reference ? reference->sample_reference(asked, how) : policy.sample(asked, how);
  };
  if (!processes) return sample(contexts, request);
  Share share = share_of(processes, contexts.context.rows());
  Experience mine;
  if (share.count > 0) {
    SampleRequest part = request;
    part.first_context += share.first;
    mine = sample(contexts.narrow(share.first, share.count), part);
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

Rewards score_together(Communicator* processes, RewardModel& model, const Experience& batch) {
  if (!processes || !model.per_row() || batch.rows() == 0) return model.score(batch);
  Share share = share_of(processes, batch.rows());
  Experience mine;
  if (share.count > 0) {
    at::NoGradGuard no_grad;
    mine = columns_of(model.score(batch.narrow(share.first, share.count)), share.count);
  }
  return rewards_of(gather_rows(*processes, mine));
}

}  // namespace rft
