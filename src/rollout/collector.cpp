#include "rft/rollout/collector.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

#include <algorithm>
#include <cmath>

#include "rft/core/clock.h"
#include "rft/core/error.h"
#include "rft/core/extra.h"
#include "rft/core/log.h"
#include "rft/core/rng.h"
#include "rft/core/text.h"
#include "rft/policy/credits_steps.h"
#include "rft/rollout/reward_columns.h"

namespace rft {
namespace {

/// Sets the reference's draws apart from the policy's.
constexpr uint64_t kReference = 0x7265666572656e63;

void add_component_metrics(const Rewards& rewards, const std::string& prefix, Metrics& metrics) {
  for (const auto& component : rewards.components) {
    auto value = component.value.to(at::kDouble);
    auto good = value.masked_select(value.isnan().logical_not());
    if (good.numel() == 0) continue;
    double rows = static_cast<double>(good.numel());
    metrics.add(prefix + "rewards/" + component.name + "/mean", good.mean().item<double>(), rows);
    metrics.add(prefix + "rewards/" + component.name + "/std", good.numel() > 1 ? good.std().item<double>() : 0.0,
                rows);
  }
}

void add_completion_metrics(const Experience& batch, Metrics& metrics) {
  auto length = batch.mask.sum(1).to(at::kDouble);
  double rows = static_cast<double>(batch.rows());
  metrics.add("completions/mean_length", length.mean().item<double>(), rows);
  metrics.add("completions/min_length", length.min().item<double>());
  metrics.add("completions/max_length", length.max().item<double>());
  if (!batch.extra.has(extra::truncated)) return;
  auto truncated = batch.extra.tensor(extra::truncated);
  metrics.add("completions/clipped_ratio", truncated.to(at::kDouble).mean().item<double>(), rows);
  auto ended = length.masked_select(truncated.logical_not());
  if (ended.numel())
    metrics.add("completions/mean_terminated_length", ended.mean().item<double>(), static_cast<double>(ended.numel()));
}

/// Seconds and tokens over all rounds of a rollout.
struct Spent {
  double rollout = 0, reward = 0, beside = 0, judge = 0, tokens = 0;
};

/// [B] of rewards [B] or [B, T].
Tensor row_sums(const Tensor& reward, const Tensor& mask) {
  return reward.dim() == 2 ? at::where(mask, reward, at::zeros({}, reward.options())).sum(1) : reward;
}

/// The reward of each context's most likely answer, for all rows of its group.
void add_greedy(const RolloutSlots& slots, const Experience& contexts, Experience& batch, uint64_t seed) {
  SampleRequest request{1, seed, true, {}, 0};
  ScoringSpent spent;
  Experience answers =
      sample_and_score_together({slots.processes}, slots.policy, slots.reward, contexts, request, spent);
  Rewards rewards = rewards_together(slots.processes, *slots.reward, answers);
  Tensor reward = row_sums(rewards.value, answers.mask);
  batch.extra.set(extra::greedy_reward, reward.to(at::kFloat).index_select(0, batch.group));
}

/// Gives `rows` the columns of extra that only `other` has, all 0.
void add_missing(Experience& rows, const Experience& other) {
  for (const auto& [name, x] : other.extra.tensors()) {
    if (rows.extra.has(name)) continue;
    auto shape = x.sizes().vec();
    shape[0] = rows.rows();
    rows.extra.set(name, at::zeros(shape, x.options()));
  }
}

/// The answers to `asked` [C] int64, C groups, that the policy does not make: the reference's and the dataset's own. No
/// rows where there are none.
Experience others_answers(const RolloutSlots& slots, const Experience& contexts, const Tensor& asked, uint64_t seed,
                          const CollectOptions& options) {
  std::vector<Experience> parts;
  Tensor group = at::arange(asked.numel(), at::kLong);
  if (int64_t count = options.reference_answers; count > 0) {
    SampleRequest request{count, mix(seed, kReference), false, {}, 0};
    parts.push_back(sample_together(slots.processes, slots.policy, contexts.select(asked), request, true));
    parts.back().logp = Tensor();  // the reference's; see with_given()
    parts.back().group = group.repeat_interleave(count);
    parts.back().extra.set(extra::row, asked.repeat_interleave(count));
  }
  if (options.given) {
    parts.push_back(options.given->select(asked));
    parts.back().group = group;
    parts.back().extra.set(extra::row, asked);
  }
  if (parts.size() == 2) add_missing(parts[1], parts[0]);
  return parts.empty() ? Experience{} : parts.size() == 1 ? parts[0] : Experience::concat(parts);
}

/// Joins samples with the answers of others, as if the policy had given them: their logp is the present policy's.
Experience with_given(const RolloutSlots& slots, Experience batch, Experience given) {
  if (has_reward_columns(batch)) add_reward_columns(given, score_together(slots.processes, *slots.reward, given));
  given.logp = at::where(given.mask, evaluate_together(slots.processes, slots.policy, given, Needs{}).logp,
                         at::zeros({}, batch.logp.options()));
  add_missing(given, batch);
  batch.extra.set(extra::given, at::zeros({batch.rows()}, at::kBool));
  given.extra.set(extra::given, at::ones({given.rows()}, at::kBool));
  Experience all = Experience::concat({batch, given});
  return all.select(at::argsort(all.group, /*stable=*/true));
}

/// The policy's own answers: those that are drawn already, or new ones.
Drawn draw(const RolloutSlots& slots, const Experience& contexts, RowCursor& cursor, uint64_t seed,
           const CollectOptions& options, bool first) {
  if (first && options.drawn) return options.drawn();
  Drawn out;
  out.asked = ask(slots.selector, cursor, seed, options);
  Questions questions = questions_of(out.asked, contexts, options);
  questions.sharing.processes = slots.processes;
  out.answers = sample_and_score_together(questions.sharing, slots.policy, slots.reward, questions.contexts,
                                          questions.request, out.spent);
  return out;
}

Experience answer(const RolloutSlots& slots, const Experience& contexts, Drawn drawn, const CollectOptions& options) {
  Experience batch = std::move(drawn.answers);
  Questions questions = questions_of(drawn.asked, contexts, options);
  Tensor asked = at::tensor(drawn.asked.rows, at::kLong);
  batch.group = questions.group.repeat_interleave(questions.request.group_size);
  batch.extra.set(extra::row, asked.index_select(0, batch.group));
  if (options.lengths) options.lengths->note(batch);
  Experience others = others_answers(slots, contexts, asked, drawn.asked.seed, options);
  if (others.mask.defined()) batch = with_given(slots, std::move(batch), std::move(others));
  if (options.needs.greedy) add_greedy(slots, contexts.select(asked), batch, drawn.asked.seed);
  return batch;
}

Experience act(const RolloutSlots& slots, uint64_t seed, const CollectOptions& options, Metrics& metrics) {
  auto& actor = dynamic_cast<Actor&>(slots.policy);
  Acting acting;
  acting.critic = options.needs.value && !options.needs.q, acting.transitions = options.needs.q.has_value();
  acting.uniform = options.uniform, acting.raw = acting.each_step = slots.reward != nullptr;
  if (slots.worlds->options().steps) return slots.worlds->segments(actor, seed, acting, metrics);
  return slots.worlds->episodes(actor, options.batch_size / options.group_size, options.group_size, seed, acting,
                                metrics);
}

/// One round of a rollout, rewarded and judged; group numbers start at `first_group`.
Experience roll_out(const RolloutSlots& slots, const Experience& contexts, RowCursor& cursor, uint64_t seed,
                    int64_t first_group, const CollectOptions& options, Spent& spent, Metrics& metrics) {
  Clock clock;
  ScoringSpent scoring;
  Experience batch;
  if (slots.worlds) {
    batch = act(slots, seed, options, metrics);
  } else {
    Drawn drawn = draw(slots, contexts, cursor, seed, options, first_group == 0);
    scoring = drawn.spent;
    batch = answer(slots, contexts, std::move(drawn), options);
  }
  batch.group = batch.group.add(first_group);
  if (!slots.worlds) add_completion_metrics(batch, metrics);
  spent.tokens += batch.mask.sum().item<double>();
  spent.rollout += clock.lap() - scoring.waited;
  spent.reward += scoring.waited, spent.beside += scoring.beside;
  if (slots.reward) {
    attach_rewards(batch, *slots.reward, options.max_reward_failures, "", metrics, slots.processes);
    spent.reward += clock.lap();
  }
  at::NoGradGuard no_grad;
  learn_otherwise(slots.policy, batch, options.reprompt, metrics);
  if (options.needs.ref_logp) batch.ref_logp = ref_logp_together(slots.processes, slots.policy, batch, options.needs);
  bool estimated = batch.extra.has(extra::old_value);  // actors say it as they act
  if (options.recompute_logp || (options.needs.value && !estimated)) {
    Needs judged;
    judged.value = options.needs.value && !estimated;
    Evaluation now = evaluate_together(slots.processes, slots.policy, batch, judged);
    if (options.recompute_logp) batch.old_logp = now.logp;
    if (judged.value) batch.extra.set(extra::old_value, now.value);
  }
  if (auto* steps = dynamic_cast<const CreditsSteps*>(&slots.policy)) batch = steps->for_credit(std::move(batch));
  spent.judge += clock.lap();
  return batch;
}

/// What each token does to its group's right answers, where that is asked for.
void add_influence(const RolloutSlots& slots, const CollectOptions& options, Experience& batch, Spent& spent) {
  if (!options.needs.token_influence) return;
  Clock clock;
  influence_together(slots.processes, slots.policy, batch);
  spent.judge += clock.lap();
}

}  // namespace

Asked ask(Selector& selector, RowCursor& cursor, uint64_t seed, const CollectOptions& options) {
  Asked out{cursor.next(options.batch_size / options.group_size), {}, seed};
  out.counts = selector.allocate(out.rows, options.batch_size);
  return out;
}

Questions questions_of(const Asked& asked, const Experience& contexts, const CollectOptions& options) {
  Questions out;
  out.request.group_size = options.group_size - options.reference_answers - (options.given ? 1 : 0);
  out.request.seed = asked.seed, out.request.progress = options.progress;
  out.group = at::arange(static_cast<int64_t>(asked.rows.size()), at::kLong);
  if (!asked.counts.empty())
    out.group = out.group.repeat_interleave(at::tensor(asked.counts, at::kLong)), out.request.group_size = 1;
  const Tensor rows = at::tensor(asked.rows, at::kLong).index_select(0, out.group);
  out.contexts = contexts.select(rows);
  if (options.lengths) out.sharing.expected = options.lengths->expected(rows);
  return out;
}

void attach_rewards(Experience& batch, RewardModel& model, double max_failures, const std::string& prefix,
                    Metrics& metrics, Communicator* processes) {
  Rewards rewards = rewards_together(processes, model, batch);
  batch.reward = rewards.value;
  std::vector<Tensor> values, weights;
  for (const auto& component : rewards.components) {
    values.push_back(component.value.to(at::kFloat));
    weights.push_back(at::full({batch.rows()}, component.weight, at::kFloat));
  }
  if (!values.empty()) {
    batch.extra.set(extra::reward_components, at::stack(values, 1));
    std::vector<std::string> names;
    for (const auto& component : rewards.components) names.push_back(component.name);
    batch.extra.set_text(extra::reward_names, std::vector<std::string>(batch.rows(), join(names, ",")));
    batch.extra.set(extra::reward_weights, at::stack(weights, 1));
  }
  add_component_metrics(rewards, prefix, metrics);
  double failed = rewards.value.isnan().to(at::kDouble).mean().item<double>();
  metrics.add(prefix + "rewards/failed_ratio", failed, static_cast<double>(batch.rows()));
  std::string message;
  for (const auto& error : rewards.errors)
    if (message.empty()) message = error;
  if (failed > max_failures)
    run_failed("reward", static_cast<int>(std::lround(failed * 100)),
               " % of the rewards could not be computed (at most ", max_failures * 100,
               " % may fail, train.max_reward_failures); the first: ", message.empty() ? "NaN" : message);
  if (!message.empty()) log::warn("a reward could not be computed and counts as missing: " + message);
}

Experience collect(const RolloutSlots& slots, const Experience& contexts, RowCursor& cursor, uint64_t seed,
                   const CollectOptions& options, Metrics& metrics) {
  int64_t wanted = slots.selector.expected_rows(options.batch_size, options.group_size), groups = 0, kept = 0;
  Spent spent;
  std::vector<Experience> parts;
  for (int64_t round = 0; round <= slots.selector.extra_rollouts() && kept < wanted; ++round) {
    Experience batch = roll_out(slots, contexts, cursor, mix(seed, round), groups, options, spent, metrics);
    groups += options.batch_size / options.group_size;
    if (slots.credit)
      slots.credit->assign(batch, metrics);
    else if (batch.reward.defined())
      metrics.add("reward", row_sums(batch.reward, batch.mask).nanmean().item<double>(),
                  static_cast<double>(batch.rows()));
    const bool select_first = slots.selector.whole_groups();
    if (!select_first) add_influence(slots, options, batch, spent);
    Experience chosen = batch.select(slots.selector.select(batch, metrics));
    if (select_first && chosen.rows()) add_influence(slots, options, chosen, spent);
    kept += chosen.rows();
    if (chosen.rows()) parts.push_back(std::move(chosen));
  }
  metrics.add("time/rollout", spent.rollout), metrics.add("time/reward", spent.reward);
  if (spent.beside > 0) metrics.add("time/reward_beside", spent.beside);
  metrics.add("time/judge", spent.judge), metrics.add("sampled_tokens", spent.tokens);
  if (parts.empty()) return {};
  Experience all = parts.size() == 1 ? std::move(parts[0]) : Experience::concat(parts);
  return all.rows() <= wanted ? all : all.select(at::arange(wanted, at::kLong));
}

}  // namespace rft
