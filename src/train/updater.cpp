#include "rft/train/updater.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

#include <algorithm>
#include <cmath>
#include <set>

#include "rft/core/error.h"
#include "rft/core/extra.h"
#include "rft/core/text.h"
#include "rft/dist/exchange.h"
#include "rft/policy/counts_tokens.h"
#include "rft/policy/gathers_layers.h"
#include "train/micro_batches.h"

namespace rft {
namespace {

/// "rows 4 to 7", or each by its number.
std::string named_rows(const Tensor& part) {
  const int64_t first = part[0].item<int64_t>(), count = part.numel();
  if (part.equal(at::arange(first, first + count))) return cat("rows ", first, " to ", first + count - 1);
  std::vector<std::string> numbers;
  for (int64_t i = 0; i < count; ++i) numbers.push_back(std::to_string(part[i].item<int64_t>()));
  return "rows " + join(numbers, ", ");
}

/// "" where all terms are finite, else the term's name, its value and the rows of the batch.
std::string non_finite_term(const Loss& loss, const Tensor& part) {
  for (const auto& term : loss.terms) {
    double value = term.value.item<double>();
    if (!std::isfinite(value)) return cat("the loss term '", term.name, "' is ", value, " on ", named_rows(part));
  }
  return "";
}

void add_mismatch(const Experience& micro, const Evaluation& now, Metrics& metrics) {
  auto difference = micro.logp.sub(now.logp.detach()).abs().masked_select(micro.mask);
  if (difference.numel() == 0) return;
  metrics.add("logp_mismatch", difference.mean().item<double>(), static_cast<double>(difference.numel()));
}

/// The importance weights of the decisions, now / when they were made; the greatest of all is returned.
double add_importance(const Experience& micro, const Evaluation& now, Metrics& metrics) {
  Tensor weight = now.logp.detach().sub(micro.logp).exp().to(at::kDouble);
  weight = weight.masked_select(micro.mask.logical_and(weight.isnan().logical_not()));
  if (weight.numel() == 0) return 0;
  metrics.add("importance/mean", weight.mean().item<double>(), static_cast<double>(weight.numel()));
  return weight.max().item<double>();
}

/// Micro-batches of `batch`, and, of a policy that counts tokens, how full they are.
std::vector<Tensor> parts_of(const Experience& batch, const Needs& needs, const UpdateOptions& options,
                             const Policy& policy, Metrics& metrics) {
  MicroBatchOptions how{.rows = options.micro_batch_size,
                        .tokens = options.micro_batch_tokens,
                        .group = std::max<int64_t>(needs.group_size, 1),
                        .blocks = options.blocks,
                        .processes = options.processes ? options.processes->size() : 1};
  if (auto* counts = dynamic_cast<const CountsTokens*>(&policy)) how.row_tokens = counts->row_tokens(batch);
  auto parts = micro_batches(batch.rows(), how);
  if (!how.row_tokens.defined()) return parts;
  Packing packing;
  packing.add(parts, how.row_tokens);
  metrics.add("packing/packs", static_cast<double>(packing.packs));
  metrics.add("packing/padding", packing.padding());
  return parts;
}

/// Those that this process computes.
std::vector<Tensor> share_of_parts(const std::vector<Tensor>& parts, Communicator* processes) {
  Share share = share_of(processes, static_cast<int64_t>(parts.size()));
  return {parts.begin() + share.first, parts.begin() + share.first + share.count};
}

/// Scores samples that carry a graph, and counts each reward's mean.
Tensor reward_of_sample(RewardModel* model, const Experience& sample, Metrics& metrics) {
  if (!model) bad_input("recipe", "the objective learns from rewards: a `reward` block is needed");
  Rewards rewards = model->score(sample);
  if (!rewards.value.defined() || rewards.value.dim() != 1 || rewards.value.size(0) != sample.rows())
    run_failed("reward", "must give one value a row, ", sample.rows(), " in all");
  auto count = [&](const std::string& name, const Tensor& value) {
    Tensor good = value.detach().to(at::kDouble).masked_select(value.detach().isnan().logical_not());
    if (good.numel()) metrics.add(name, good.mean().item<double>(), static_cast<double>(good.numel()));
  };
  for (const auto& component : rewards.components) count("rewards/" + component.name + "/mean", component.value);
  count("reward", rewards.value);
  if (!rewards.value.requires_grad() && at::GradMode::is_enabled())
    bad_input("reward", "the objective needs a reward that a gradient flows through; this one is not differentiable");
  return rewards.value;
}

Evaluation evaluate(Policy& policy, const Experience& micro, const Needs& needs, const UpdateOptions& options,
                    Metrics& metrics) {
  if (!needs.pathwise) return policy.evaluate(micro, needs);
  return policy.evaluate_path(
      micro, needs, [&](const Experience& sample) { return reward_of_sample(options.reward, sample, metrics); });
}

/// Rows of micro-batches that this process computed, with the other processes', in the batch's order.
Tensor in_batch_order(const std::vector<Tensor>& mine, const std::vector<Tensor>& parts, Communicator* processes) {
  Tensor all = mine.empty() ? Tensor() : concat_rows(mine);
  if (processes) all = gather_rows(*processes, all);
  return all.defined() ? all.index_select(0, at::cat(parts).argsort()) : all;
}

/// The whole batch evaluated without gradients, in the same micro-batches; rows in the batch's order.
Evaluation evaluate_whole(Policy& policy, const Experience& batch, const Needs& needs, const std::vector<Tensor>& parts,
                          Communicator* processes) {
  at::NoGradGuard no_grad;
  std::vector<Tensor> logps, entropies;
  for (const Tensor& rows : share_of_parts(parts, processes)) {
    auto now = policy.evaluate(batch.select(rows), needs);
    logps.push_back(now.logp);
    if (now.entropy.defined()) entropies.push_back(now.entropy);
  }
  Evaluation out;
  out.logp = in_batch_order(logps, parts, processes), out.entropy = in_batch_order(entropies, parts, processes);
  return out;
}

/// Judges each context with the answer of the row before it (the first with the last one's), as TRL's KTOTrainer pairs
/// them: extra::kl_logp, kl_ref_logp and kl_mask.
void add_mismatched(Policy& policy, Experience& batch, const Needs& needs, const std::vector<Tensor>& parts,
                    Communicator* processes) {
  Experience other = batch;
  other.action = batch.action.roll(1, 0), other.mask = batch.mask.roll(1, 0);
  for (Tensor Experience::*column : {&Experience::logp, &Experience::old_logp, &Experience::ref_logp})
    other.*column = Tensor();
  Needs only;
  only.data = needs.data;
  at::NoGradGuard no_grad;
  std::vector<Tensor> ref;
  for (const Tensor& rows : share_of_parts(parts, processes)) ref.push_back(policy.ref_logp(other.select(rows), only));
  batch.extra.set(extra::kl_logp, evaluate_whole(policy, other, only, parts, processes).logp);
  batch.extra.set(extra::kl_ref_logp, in_batch_order(ref, parts, processes));
  batch.extra.set(extra::kl_mask, other.mask);
}

/// What came of the micro-batches.
struct Pass {
  Metrics found;
  double total = 0;  ///< the loss
  std::string problem;
  std::set<std::string> trained;  ///< groups of parameters that a term trains; all: some term trains every one
  bool all = false;
  double importance = 0;  ///< the greatest weight
  Experience made;        ///< what was sampled on the way: extra::image, and extra::completion in its context
};

/// Evaluates one micro-batch and notes what came of it; its loss, undefined where that is not finite.
Tensor judged(Pass& pass, Policy& policy, Objective& objective, const Experience& batch, const Tensor& part, bool whole,
              const Needs& needs, const UpdateOptions& options) {
  Experience micro = whole ? batch : batch.select(part);
  Evaluation now = evaluate(policy, micro, needs, options, pass.found);
  Loss loss = objective.loss(now, micro);
  if (now.auxiliary.defined()) {
    double share = static_cast<double>(part.numel()) / static_cast<double>(batch.rows());
    loss.terms.push_back({"aux_loss", now.auxiliary.mul(share)});
    pass.found.add("aux_loss", now.auxiliary.item<double>(), static_cast<double>(part.numel()));
  }
  pass.problem = non_finite_term(loss, part);
  if (!pass.problem.empty()) return {};
  for (const auto& term : loss.terms)
    pass.trained.insert(term.trains.begin(), term.trains.end()), pass.all |= term.trains.empty();
  auto sum = loss.total();
  pass.total += sum.item<double>();
  if (options.compare_logp && micro.logp.defined() && !now.logp_is_samplers) {
    add_mismatch(micro, now, pass.found);
    if (options.off_policy) pass.importance = std::max(pass.importance, add_importance(micro, now, pass.found));
  }
  Experience made;
  if (auto image = now.extra.find(extra::image); image.defined()) made.extra.set(extra::image, image);
  if (now.extra.has_text(extra::completion))
    made.context.set_text(extra::completion, now.extra.text(extra::completion));
  if (!made.extra.empty() || !made.context.empty())
    pass.made = pass.made.extra.empty() && pass.made.context.empty() ? made : Experience::concat({pass.made, made});
  pass.found.merge(loss.metrics);
  return sum;
}

constexpr char kField = '\x1e';

/// Whether all found finite losses, and what they train.
void agree(Pass& pass, Communicator& processes) {
  std::vector<std::string> groups(pass.trained.begin(), pass.trained.end());
  std::string mine = pass.problem + kField + (pass.all ? "all" : "") + kField + join(groups, ",");
  for (const std::string& said : processes.gather(mine)) {
    auto fields = split(said, kField);
    if (pass.problem.empty()) pass.problem = fields.at(0);
    pass.all |= !fields.at(1).empty();
    for (const auto& group : split(fields.at(2), ','))
      if (!group.empty()) pass.trained.insert(group);
  }
}

/// Adds up what all processes found.
void add_up(Pass& pass, Communicator& processes) {
  Tensor total = at::full({1}, pass.total, at::kDouble);
  processes.sum(total);
  pass.total = total.item<double>();
  pass.found = gather_metrics(processes, pass.found);
  Tensor each = at::zeros({processes.size()}, at::kDouble);
  each[processes.rank()].fill_(pass.importance);
  processes.sum(each);
  pass.importance = each.max().item<double>();
  pass.made = gather_rows(processes, pass.made);
}

/// Evaluates this process's micro-batches and adds up all gradients, unless some loss is not finite. Several processes
/// agree on that before the backward pass in which gradients are sent: in the last one, or in every one where the
/// optimizer keeps none (a process may then have fewer micro-batches than others, and adds nothing).
void add_gradients(Pass& pass, Policy& policy, Objective& objective, Optimizer& optimizer, const Experience& batch,
                   const std::vector<Tensor>& parts, const Needs& needs, const UpdateOptions& options) {
  auto mine = share_of_parts(parts, options.processes);
  bool every = options.processes && optimizer.reduces_every_pass();
  size_t sharers = options.processes ? static_cast<size_t>(options.processes->size()) : 1;
  size_t passes = every ? (parts.size() + sharers - 1) / sharers : std::max<size_t>(mine.size(), 1);
  auto* layered = dynamic_cast<const GathersLayers*>(&policy);
  int64_t forwards = 1 + (layered && needs.divergence ? layered->reference_passes() : 0);
  for (size_t i = 0; i < passes; ++i) {
    Tensor loss;
    if (i < mine.size()) loss = judged(pass, policy, objective, batch, mine[i], parts.size() == 1, needs, options);
    optimizer.forward_done(forwards);
    bool reduces = options.processes && (every || i + 1 == passes || !pass.problem.empty());
    if (reduces) agree(pass, *options.processes);
    if (!pass.problem.empty()) return;
    if (reduces) optimizer.begin_reduction();
    if (loss.defined() && loss.requires_grad()) loss.backward();
    if (reduces) optimizer.end_reduction();
  }
}

}  // namespace

UpdateResult gradient(Policy& policy, Objective& objective, Optimizer& optimizer, Experience& batch, const Needs& needs,
                      const UpdateOptions& options, Metrics& metrics) {
  batch.fill_totals();
  auto parts = parts_of(batch, needs, options, policy, metrics);
  if (needs.mismatched || needs.whole_batch) optimizer.gather_weights();
  if (needs.mismatched) add_mismatched(policy, batch, needs, parts, options.processes);
  if (needs.whole_batch)
    objective.observe(evaluate_whole(policy, batch, needs, parts, options.processes), batch);
  else if (needs.mismatched)
    objective.observe({}, batch);
  optimizer.release_weights();
  optimizer.zero_grad();
  Pass pass;
  add_gradients(pass, policy, objective, optimizer, batch, parts, needs, options);
  policy.report(pass.found);
  if (!pass.problem.empty()) return {false, pass.problem, {}};
  if (options.processes) add_up(pass, *options.processes);
  if (pass.importance > 0) pass.found.add("importance/max", pass.importance);
  // What was made, for the run's samples.
  if (auto images = pass.made.extra.find(extra::image); images.defined()) batch.extra.set(extra::image, images);
  if (pass.made.context.has_text(extra::completion))
    batch.context.set_text(extra::completion, pass.made.context.text(extra::completion));
  metrics.merge(pass.found);
  metrics.add("loss", pass.total);
  return {true, "", pass.all ? std::set<std::string>{} : pass.trained};
}

UpdateResult update(Policy& policy, Objective& objective, Optimizer& optimizer, Experience& batch, const Needs& needs,
                    const UpdateOptions& options, Metrics& metrics) {
  Metrics found;
  UpdateResult result = gradient(policy, objective, optimizer, batch, needs, options, found);
  if (!result.finite) return result;
  double norm = optimizer.grad_norm();
  if (!std::isfinite(norm))
    return {false, cat("the gradient's norm is ", norm, " over rows 0 to ", batch.rows() - 1), {}};
  // PyTorch's clip_grad_norm_: the same 1e-6, so that a clipped step equals the peers'.
  if (options.max_grad_norm > 0) {
    double factor = options.max_grad_norm / (norm + 1e-6);
    if (factor < 1) optimizer.scale_grad(factor);
  }
  double lr = options.rate ? options.rate(found) : options.lr;
  optimizer.step(lr, result.trained);
  objective.stepped(found);
  metrics.merge(found);
  metrics.add("grad_norm", norm);
  metrics.add("learning_rate", lr);
  return result;
}

}  // namespace rft
