// What chains and their steps are judged by: log-densities, errors of the answers, the critic's estimates.
#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

#include "policy/chain_steps.h"
#include "rft/core/error.h"
#include "rft/core/extra.h"
#include "rft/core/noise.h"
#include "rft/core/rng.h"
#include "rft/policy/chain_actor.h"

namespace rft {
namespace {

/// One key a demonstrated decision, [B * T].
std::vector<uint64_t> demonstration_keys(const Experience& batch) {
  Tensor draw = batch.extra.find(extra::draw);
  std::vector<uint64_t> out;
  for (int64_t i = 0; i < batch.rows(); ++i) {
    uint64_t row = draw.defined() ? static_cast<uint64_t>(draw[i][1].item<int64_t>()) : static_cast<uint64_t>(i);
    for (int64_t t = 0; t < batch.steps(); ++t) out.push_back(mix(row, static_cast<uint64_t>(t)));
  }
  return out;
}

/// [M * S]: first, first + 1, .., first + S - 1 for every chain.
Tensor step_numbers(int64_t chains, int64_t first, int64_t S) {
  return at::arange(first, first + S, at::kLong).repeat({chains});
}

/// [M, ...] -> [M * S, ...], every row S times.
Tensor for_every_step(const Tensor& x, int64_t steps) {
  return x.unsqueeze(1).expand({x.size(0), steps, x.size(1)}).reshape({x.size(0) * steps, x.size(1)});
}

/// The samples [N, S, K] that steps to `after` [N, S, K] began at, the first one at `start` [N, K].
Tensor before_of(const Tensor& start, const Tensor& after) {
  return at::cat({start.unsqueeze(1), after.narrow(1, 0, after.size(1) - 1)}, 1);
}

}  // namespace

/// What is expected [M, S] of chains that stand at `before` [M, S, K], the first S of their samples; observation [M,
/// D].
Tensor ChainActor::step_value(const Tensor& before, const Tensor& observation) const {
  const int64_t M = before.size(0), S = before.size(1);
  Tensor k = step_numbers(M, first_step(), S);
  Tensor x = before.reshape({M * S, size()}).mul(k.ne(first_step()).unsqueeze(1));
  Tensor time = time_features(k.to(at::kFloat).div(static_cast<double>(steps())));
  return critic_(at::cat({x, time, for_every_step(observation, S)}, 1)).view({M, S});
}

/// Steps from `before` to `after` [M, S, K], each a sample of its chain; observation [M, D].
ChainActor::Judged ChainActor::judge(const Networks& networks, const Tensor& before, const Tensor& after,
                                     const Tensor& observation) const {
  int64_t M = before.size(0), S = chain_steps();
  Tensor k = step_numbers(M, first_step(), S);
  StepNormal normal = step(networks, before.reshape({M * S, size()}), for_every_step(observation, S), k);
  Judged out;
  out.logp = step_logp(normal, after.reshape({M * S, size()})).view({M, S});
  Tensor spread = normal.log_std.add(half_log_two_pi + 0.5).expand({M * S, size()});
  out.entropy = (options_.logp == "mean" ? spread.mean(1) : spread.sum(1)).view({M, S});
  return out;
}

/// Rows of the environment's decisions, action [B, T, S + 1, K], or of one chain's steps, action [N, S, K].
Evaluation ChainActor::judge_rollout(const Networks& networks, const Experience& batch) const {
  const Tensor& seen = batch.context.tensor(extra::observation);
  Tensor observation = seen.reshape({-1, seen.size(-1)});
  Evaluation out;
  if (Tensor start = batch.context.find(extra::start); start.defined()) {
    Judged judged = judge(networks, before_of(start, batch.action), batch.action, observation);
    out.logp = judged.logp, out.entropy = judged.entropy;
    return out;
  }
  int64_t B = batch.action.size(0), T = batch.action.size(1), S = batch.action.size(2) - 1;
  if (S != chain_steps())
    run_failed("policy", "the chains of this rollout have ", S, " steps, and the policy makes ", chain_steps());
  Tensor chain = batch.action.flatten(0, 1);
  Judged judged = judge(networks, chain.narrow(1, 0, S), chain.narrow(1, 1, S), observation);
  out.logp = over_steps(judged.logp, start_term(chain.select(1, 0))).view({B, T});
  out.entropy = over_steps(judged.entropy, {}).view({B, T});
  return out;
}

/// Rows of one chain's steps, action [N, S, K].
Evaluation ChainActor::judge_forward(const Networks& networks, const Experience& batch, bool estimates) const {
  const int64_t N = batch.action.size(0), S = batch.action.size(1), K = size();
  const Tensor& seen = batch.context.tensor(extra::observation);
  Tensor before = before_of(batch.context.tensor(extra::start), batch.action).reshape({N * S, K});
  Tensor clean = for_every_step(batch.action.select(1, S - 1), S);
  Tensor observation = for_every_step(seen.reshape({-1, seen.size(-1)}), S);
  Answer said = answer(networks, before, clean, observation, step_numbers(N, first_step(), S));
  Evaluation out;
  out.logp = said.given.sub(said.right).square().mean(1).neg().view({N, S});
  if (estimates) {
    out.extra.set(extra::estimate, said.given.view({N, S, K}));
    out.extra.set(extra::estimate_scale, at::ones({N, S}, said.given.options()));
  }
  return out;
}

Evaluation ChainActor::judge_demonstrations(const Networks& networks, const Experience& batch) const {
  const Tensor& seen = batch.context.tensor(extra::observation);
  int64_t B = batch.rows(), T = batch.steps();
  Tensor wrong = error(networks, scaled(batch.action).reshape({B * T, size()}), seen.reshape({B * T, seen.size(-1)}),
                       demonstration_keys(batch));
  Evaluation out;
  out.logp = wrong.neg().view({B, T});
  return out;
}

/// `estimates`: also what the networks answer, where they are judged by that.
Evaluation ChainActor::judge(const Networks& networks, const Experience& batch, bool estimates) const {
  if (judges_forward() && batch.context.has(extra::start)) return judge_forward(networks, batch, estimates);
  bool rollout = batch.action.dim() == 4 || batch.context.has(extra::start);
  return rollout ? judge_rollout(networks, batch) : judge_demonstrations(networks, batch);
}

Evaluation ChainActor::evaluate(const Experience& batch, const Needs& needs) {
  if (batch.action.dim() == 4 && batch.mask.size(1) != batch.action.size(1))
    bad_input("rollout.learn_from", "critic: steps gives every step a credit of its own: rollouts must be cut into ",
              "decisions (rollout.steps, learn_from: decisions)");
  Evaluation out = judge(networks_, batch, needs.ref_estimate);
  if (needs.ref_estimate) {
    if (!out.extra.has(extra::estimate))
      bad_input("policy.judge", "the objective is held near the reference's answers: judge must be forward");
    at::NoGradGuard no_grad;
    out.extra.set(extra::ref_estimate, judge(reference_, batch, true).extra.tensor(extra::estimate));
  }
  if (!needs.entropy) out.entropy = Tensor();
  if (!needs.value) return out;
  const Tensor& seen = batch.context.tensor(extra::observation);
  Tensor start = batch.context.find(extra::start);
  out.value = values_steps() && start.defined()
                  ? step_value(before_of(start, batch.action), seen.reshape({-1, seen.size(-1)}))
                  : value(seen, true).expand_as(out.logp);
  return out;
}

Tensor ChainActor::ref_logp(const Experience& batch, const Needs&) {
  at::NoGradGuard no_grad;
  if (reference_.step.empty()) run_failed("policy", "there is no reference policy: the recipe asked for none");
  return judge(reference_, batch).logp;
}

}  // namespace rft
