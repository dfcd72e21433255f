#include "rft/policy/actor.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>

#include "rft/core/error.h"
#include "rft/core/extra.h"
#include "rft/io/rows.h"

namespace rft {
namespace {

/// [B, T, ...] -> [N, 1, ...], the decisions that `kept` [N] names.
Tensor one_a_row(const Tensor& x, const Tensor& kept) { return x.flatten(0, 1).index_select(0, kept).unsqueeze(1); }

/// [n] float64: from each of the rewards on, their sum to the end, discounted.
Tensor discounted(const Tensor& reward, double gamma) {
  Tensor sum = reward.to(at::kDouble).clone();
  auto at = sum.accessor<double, 1>();
  for (int64_t t = sum.size(0) - 2; t >= 0; --t) at[t] += gamma * at[t + 1];
  return sum;
}

/// [n] float64: what `chunk` steps from each of the first n on earn, of sums to the end (discounted()).
Tensor of_chunks(const Tensor& sums, int64_t n, int64_t chunk, double gamma) {
  Tensor after = at::cat({sums, at::zeros({1}, at::kDouble)}).narrow(0, chunk, n);
  return sums.narrow(0, 0, n).sub(after, std::pow(gamma, static_cast<double>(chunk)));
}

}  // namespace

Decisions Actor::act_from(const Tensor&, const Tensor& observation, const std::vector<uint64_t>& keys, bool greedy,
                          bool learn) {
  return act(observation, keys, greedy, learn);
}

Tensor Actor::value_from(const Tensor&, const Tensor& observation) { return value(observation, false); }

Experience Actor::decisions(const Experience& batch) const {
  if (memory() > 0)
    bad_input("rollout.learn_from", "a policy with memory learns from rows (episodes, or segments of `steps`)");
  Tensor kept = batch.mask.flatten().nonzero().squeeze(1);
  Experience out;
  out.context.set(extra::observation, one_a_row(batch.context.tensor(extra::observation), kept));
  for (const auto& [name, column] : experience_columns()) {
    const Tensor& x = batch.*column;
    if (x.defined() && x.dim() > 1) out.*column = one_a_row(x, kept);
  }
  out.group = batch.group.unsqueeze(1).expand(batch.mask.sizes()).flatten().index_select(0, kept);
  for (const char* name : {extra::old_value, extra::returns, extra::step_logp, extra::next_observation,
                           extra::terminated, extra::duration})
    if (Tensor x = batch.extra.find(name); x.defined()) out.extra.set(name, one_a_row(x, kept));
  return out;
}

Experience Actor::transitions(const Rows& rows, int64_t chunk, double gamma) {
  Experience out = demonstrations(rows);
  int64_t B = out.rows(), T = out.steps(), D = out.context.tensor(extra::observation).size(2);
  out.reward = at::zeros({B, T}, at::kFloat);
  Tensor returns = at::zeros({B, T}, at::kFloat), next = at::zeros({B, T, D}, at::kFloat);
  Tensor terminated = at::zeros({B, T}, at::kBool), last = terminated.clone();
  for (int64_t i = 0; i < B; ++i) {
    Tensor reward = rows.numbers(i, "rewards", 1), seen = rows.numbers(i, "observations", D);
    int64_t n = out.mask[i].sum().item<int64_t>(), known = std::min(seen.size(0) - chunk, n);
    if (reward.size(0) != n + chunk - 1)
      bad_input(rows.where(i), "`rewards` must be one for each of the ", n + chunk - 1, " actions; got ",
                reward.size(0));
    std::string ended = rows.has(i, "terminated") ? rows.text(i, "terminated") : "false";
    if (ended != "true" && ended != "false")
      bad_input(rows.where(i), "`terminated` must be true where the episode ended by itself, else false; got ", ended);
    Tensor earned = discounted(reward.flatten(), gamma);
    out.reward[i].narrow(0, 0, n).copy_(of_chunks(earned, n, chunk, gamma));
    returns[i].narrow(0, 0, n).copy_(earned.narrow(0, 0, n));
    if (known > 0) next[i].narrow(0, 0, known).copy_(seen.narrow(0, chunk, known));
    if (n == 0) continue;
    last[i][n - 1] = true;
    if (ended == "true")
      terminated[i][n - 1] = true;
    else if (known < n)
      out.mask[i][n - 1] = false;  // what followed the last decision is not known
  }
  out.extra.set(extra::next_observation, next);
  out.extra.set(extra::terminated, terminated);
  out.extra.set(extra::last, last);
  out.extra.set(extra::returns, returns);
  if (chunk > 1) out.extra.set(extra::duration, at::full({B, T}, static_cast<double>(chunk), at::kFloat));
  return out;
}

Decisions Actor::random(const Tensor&, const std::vector<uint64_t>&) {
  bad_input("policy", "this policy can't act at random: rollout.replay.warmup must be 0");
}

Experience Actor::contexts(const Rows&) const {
  bad_input("data", "a policy for control acts in an environment: `prompts` do not apply to it");
}

Experience Actor::sample(const Experience&, const SampleRequest&) {
  run_failed("policy", "a policy for control acts in an environment and answers no prompts");
}

}  // namespace rft
