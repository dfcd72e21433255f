// A rollout's chains as decisions: whole chains, or every step of them; before or after credit was assigned.
#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

#include "rft/core/error.h"
#include "rft/core/extra.h"
#include "rft/policy/chain_actor.h"

namespace rft {
namespace {

void refuse_old_logp(const Experience& batch) {
  if (batch.old_logp.defined())
    bad_input("rollout.recompute_logp", "judges whole chains, and the policy's decisions are steps (decision: step)");
}

/// [B, T] -> [B, T * S]: at every chain's last step, `before` at those before it.
Tensor at_the_end(const Tensor& x, int64_t S, double before) {
  return at::constant_pad_nd(x.unsqueeze(2), {S - 1, 0}, before).flatten(1);
}

}  // namespace

Experience ChainActor::for_credit(Experience rollout) const {
  Tensor chain_logp = rollout.extra.find(extra::step_logp), expected = rollout.extra.find(extra::old_value);
  if (!values_steps() || !chain_logp.defined() || !expected.defined() || chain_steps() == 1) return rollout;
  refuse_old_logp(rollout);
  at::NoGradGuard no_grad;
  const int64_t B = rollout.action.size(0), T = rollout.action.size(1), S = chain_steps();
  Tensor chain = rollout.action.flatten(0, 1), seen = rollout.context.tensor(extra::observation).flatten(0, 1);
  Tensor before = chain.narrow(1, 0, S), value = step_value(before, seen).view({B, T, S});
  Tensor after = rollout.extra.tensor(extra::next_value).unsqueeze(2);
  rollout.extra.set(extra::old_value, value.flatten(1));
  rollout.extra.set(extra::next_value, at::cat({value.narrow(2, 1, S - 1), after}, 2).flatten(1));
  Tensor duration = rollout.extra.find(extra::duration);
  if (!duration.defined()) duration = at::ones({B, T}, at::kFloat);
  rollout.extra.set(extra::duration, at_the_end(duration, S, 0));
  rollout.extra.set(extra::last, at_the_end(rollout.extra.tensor(extra::last).to(at::kFloat), S, 0).gt(0.5));
  if (rollout.reward.dim() == 1) {
    Tensor all = at::zeros({B, T}, rollout.reward.options());  // a row's reward comes with its last decision
    Tensor end = rollout.mask.sum(1, true).sub(1).clamp_min(0);
    rollout.reward = all.scatter(1, end, rollout.reward.unsqueeze(1));
  }
  rollout.reward = at_the_end(rollout.reward, S, 0), rollout.logp = chain_logp.flatten(1);
  if (rollout.ref_logp.defined())
    rollout.ref_logp = judge(reference_, before, chain.narrow(1, 1, S), seen).logp.view({B, T * S});
  rollout.mask = rollout.mask.repeat_interleave(S, 1);
  rollout.extra.erase(extra::step_logp);
  return rollout;
}

/// Rows of one chain each, of a record whose credit was assigned to the steps.
Experience ChainActor::cut_steps(const Experience& credited) const {
  const int64_t S = chain_steps(), B = credited.action.size(0), T = credited.action.size(1);
  Tensor kept = credited.mask.view({B * T, S}).select(1, 0).nonzero().squeeze(1);
  auto rows = [&](const Tensor& x) { return x.reshape({B * T, S}).index_select(0, kept); };
  Tensor chain = credited.action.flatten(0, 1).index_select(0, kept);
  Experience out;
  Tensor seen = credited.context.tensor(extra::observation).flatten(0, 1);
  out.context.set(extra::observation, seen.index_select(0, kept).unsqueeze(1));
  out.context.set(extra::start, chain.select(1, 0).contiguous());
  out.action = chain.narrow(1, 1, S).contiguous();
  for (Tensor Experience::*column :
       {&Experience::mask, &Experience::logp, &Experience::reward, &Experience::ref_logp, &Experience::advantage})
    if ((credited.*column).defined()) out.*column = rows(credited.*column);
  for (const char* name : {extra::old_value, extra::returns})
    if (Tensor x = credited.extra.find(name); x.defined()) out.extra.set(name, rows(x));
  out.group = credited.group.repeat_interleave(T).index_select(0, kept);
  return out;
}

/// The steps' logp as they will be judged.
void ChainActor::rejudge(Experience& steps) const {
  if (!judges_forward()) return;
  at::NoGradGuard no_grad;
  steps.logp = judge(networks_, steps).logp;
}

Experience ChainActor::decisions(const Experience& batch) const {
  Tensor later = at::pow(options_.denoising_gamma, at::arange(chain_steps() - 1, -1, -1, at::kFloat));
  if (batch.action.dim() == 4 && batch.mask.size(1) != batch.action.size(1)) {
    Experience out = cut_steps(batch);
    if (out.advantage.defined()) out.advantage = out.advantage.mul(later);
    rejudge(out);
    return out;
  }
  Experience out = Actor::decisions(batch);
  Tensor steps_logp = out.extra.find(extra::step_logp);
  out.extra.erase(extra::step_logp);
  if (options_.decision == "chain" || !steps_logp.defined()) return out;
  refuse_old_logp(out);
  int64_t N = out.rows(), S = chain_steps();
  auto wide = [&](const Tensor& x) { return x.expand({N, S}).contiguous(); };
  out.context.set(extra::start, out.action.select(1, 0).select(1, 0).contiguous());
  out.action = out.action.squeeze(1).narrow(1, 1, S).contiguous();
  out.logp = steps_logp.squeeze(1), out.mask = wide(out.mask);
  if (out.reward.defined() && out.reward.dim() == 2)  // it comes when the action is made
    out.reward = at::constant_pad_nd(out.reward, {S - 1, 0}, 0);
  for (const char* name : {extra::old_value, extra::returns})
    if (Tensor x = out.extra.find(name); x.defined()) out.extra.set(name, wide(x));
  if (out.advantage.defined()) out.advantage = wide(out.advantage).mul(later);
  rejudge(out);
  if (out.ref_logp.defined()) {
    at::NoGradGuard no_grad;
    out.ref_logp = judge(reference_, out).logp;
  }
  return out;
}

}  // namespace rft
