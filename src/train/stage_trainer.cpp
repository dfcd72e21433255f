#include "train/stage_trainer.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

#include <algorithm>
#include <cmath>

#include "rft/core/error.h"
#include "rft/core/extra.h"
#include "rft/core/log.h"
#include "rft/core/rng.h"
#include "rft/core/text.h"
#include "rft/objective/bi_level.h"
#include "rft/ops/groups.h"
#include "rft/policy/counts_tokens.h"
#include "rft/policy/divides_weights.h"
#include "rft/policy/gathers_layers.h"
#include "rft/rollout/spread.h"
#include "rft/train/checkpoint.h"
#include "rft/train/updater.h"
#include "train/offload.h"
#include "train/streams.h"

namespace rft {
namespace {

/// Size of the pictures of an episode, and how many there are at most, about.
constexpr int64_t kFrameHeight = 180, kFrameWidth = 240, kFrames = 120;

Needs needs_of(const Objective& objective, const Credit* credit, const Selector& selector) {
  Needs needs = objective.needs() | selector.needs();
  return credit ? needs | credit->needs() : needs;
}

}  // namespace

StageTrainer::StageTrainer(const StageConfig& config, uint64_t seed, const Mesh& mesh)
    : config_(config),
      seed_(seed),
      all_(mesh.all()),
      processes_(mesh.data()),
      tensor_(mesh.tensor()),
      objective_(make_objective(config)),
      reward_(make_reward(config)),
      credit_(make_credit(config)),
      selector_(make_selector(config)),
      policy_(make_policy(config)),
      levels_(dynamic_cast<BiLevel*>(objective_.get())),
      meta_cursor_(1, false, 0),
      cursor_(1, false, 0) {
  needs_ = needs_of(*objective_, credit_.get(), *selector_);
  needs_.entropy = !needs_.q;  // a metric of every run; Q's objectives have it of other actions than the batch's
  if (config_.train.micro_batch_tokens && !dynamic_cast<const CountsTokens*>(policy_.get()))
    bad_input("train.micro_batch_tokens", "is for policies of text; use train.micro_batch_size");
  bool acts = !config_.environment.is_null();
  // Preferences between the policy's own answers: a reward picks the pairs that rows would have given.
  if (pairs_online(config_, needs_)) needs_.data = Needs::Data::rollout, online_pairs_ = true;
  if (acts) enter_worlds();
  policy_->prepare(needs_, mix(seed_, kWeights));
  bool given = !config_.data.rows().empty();
  if (needs_.data == Needs::Data::transitions)
    open_replay(given);
  else if (!acts || needs_.data != Needs::Data::rollout)
    read_rows();
  if (levels_) read_meta_rows();
  make_optimizer();
  const TrainOptions& train = config_.train;
  if (train.schedule.type == "adaptive") rate_ = std::make_unique<AdaptiveRate>(train.schedule, *train.optimizer.lr);
  total_ = total_steps();
  if (config_.rollout.ahead > 0) open_ahead();
}

/// Gives this process its part of the weights, where the recipe says so.
DividedWeights StageTrainer::divide() {
  if (!tensor_) return {};
  divided_ = dynamic_cast<DividesWeights*>(policy_.get());
  if (!divided_)
    bad_input("train.tensor_parallel", "policies of type causal_lm and reward_model can be divided; use train.shard");
  divided_->divide(*tensor_, needs_);
  return {tensor_, divided_->weight_parts()};
}

void StageTrainer::gather_to_save(bool keep) {
  if (ahead_) ahead_->finish();
  optimizer_->gather_trained();
  if (divided_) divided_->gather_whole(keep);
}

void StageTrainer::make_optimizer() {
  DividedWeights divided = divide();
  auto parameters = policy_->parameters(), own = objective_->parameters();
  parameters.insert(parameters.end(), own.begin(), own.end());
  Placement placement{processes_, sharding_of(config_.train.shard), {}, divided};
  auto* layered = dynamic_cast<GathersLayers*>(policy_.get());
  if (placement.sharding == Sharding::parameters) {
    if (!layered)
      bad_input("train.shard",
                "'parameters' gathers weights layer by layer, which policies of type causal_lm can; use ",
                "'gradients'");
    placement.layers = {layered->layer_prefixes(), layered->frozen_layers()};
    if (processes_ && config_.rollout.ahead > 0 && !placement.layers.frozen.empty())
      bad_input("train.shard",
                "'parameters' takes frozen layers away between rollouts, where rollout.ahead samples with them; use ",
                "'gradients'");
  }
  if (config_.train.offload == "optimizer" && !parameters.empty())
    placement.host = host_copies(parameters.front().value.device());
  optimizer_ = std::make_unique<Optimizer>(parameters, config_.train.optimizer, placement);
  if (layered) layered->set_gate(optimizer_->gate());
}

void StageTrainer::enter_worlds() {
  worlds_ = make_worlds(config_, mix(seed_, kWorlds));
  worlds_->anneal();
  eval_worlds_ = make_worlds(config_, mix(seed_, kEvaluation));
  actor_ = &dynamic_cast<Actor&>(*policy_);
  actor_->enter(worlds_->spec(), needs_, mix(seed_, kWeights));
}

/// As many as the recipe says, or as its timesteps or epochs take.
int64_t StageTrainer::total_steps() const {
  if (config_.train.steps) return *config_.train.steps;
  bool rollout = needs_.data == Needs::Data::rollout;
  auto whole = [](double x) { return static_cast<int64_t>(std::ceil(x)); };
  if (replay_) {
    int64_t left = std::max<int64_t>(*config_.train.timesteps - config_.replay->warmup, 1);
    if (!config_.worlds.steps) return updates_for(left);
    int64_t decisions = worlds_->rows() * *config_.worlds.steps;
    return whole(static_cast<double>(left) / static_cast<double>(decisions)) * updates_for(decisions);
  }
  if (worlds_ && rollout) {
    int64_t decisions = worlds_->rows() * *config_.worlds.steps;
    return whole(static_cast<double>(*config_.train.timesteps) / static_cast<double>(decisions)) *
           updates_of(single_decisions() ? decisions : worlds_->rows());
  }
  int64_t rows_a_batch = rollout ? rollout_batch_size() / config_.rollout.group_size
                                 : std::max<int64_t>(config_.train.batch_size / group_size(), 1);
  int64_t steps_a_batch =
      rollout ? updates_of(selector_->expected_rows(rollout_batch_size(), config_.rollout.group_size)) : 1;
  int64_t rows = contexts_in(data_);
  return whole(config_.train.epochs * static_cast<double>(rows) / static_cast<double>(rows_a_batch)) * steps_a_batch;
}

/// Whether rollouts are cut into their decisions.
bool StageTrainer::single_decisions() const {
  if (!worlds_ || online_pairs_) return false;
  const std::string& from = config_.worlds.learn_from;
  return from == "decisions" || (from == "auto" && config_.worlds.steps && actor_->memory() == 0);
}

/// The recipe's, or as many trajectories as leave the selector one optimizer batch.
int64_t StageTrainer::rollout_batch_size() const {
  if (config_.rollout.batch_size) return *config_.rollout.batch_size;
  int64_t group = config_.rollout.group_size, size = group;
  // Rows that segments come in, or that keep all worlds busy.
  if (worlds_ && config_.worlds.steps) return worlds_->rows();
  if (single_decisions() || replay_) return (config_.worlds.environments + group - 1) / group * group;
  while (selector_->expected_rows(size, group) < config_.train.batch_size) size += group;
  return size;
}

int64_t StageTrainer::updates_of(int64_t rows) const {
  int64_t trajectories = online_pairs_ ? rows / 2 : rows;  // of pairs the batch size counts the pairs
  int64_t chunks = (trajectories + config_.train.batch_size - 1) / config_.train.batch_size;
  return chunks * config_.train.iterations;
}

CollectOptions StageTrainer::collect_options() {
  CollectOptions options;
  options.group_size = config_.rollout.group_size;
  options.batch_size = rollout_batch_size();
  options.needs = needs_;
  options.recompute_logp = config_.rollout.recompute_logp;
  if (config_.rollout.given_answers) options.given = &gold_;
  options.reference_answers = config_.rollout.reference_answers;
  options.reprompt = config_.rollout.reprompt;
  options.max_reward_failures = config_.train.max_reward_failures;
  options.lengths = lengths_.get();
  return options;
}

uint64_t StageTrainer::rollout_seed(int64_t number) const { return mix(mix(seed_, kSampling), number); }

void StageTrainer::next_rollout(Metrics& metrics) {
  gather_weights();
  CollectOptions options = collect_options();
  Metrics found;
  if (ahead_) {
    draw_ahead(options);
    options.drawn = [&] {
      AheadSampler::Rollout next = ahead_->take();
      found.add("staleness", static_cast<double>(steps_ - next.step));
      return std::move(next.drawn);
    };
  }
  int64_t number = ahead_ ? rollouts_taken() : rollouts_++;
  RolloutSlots slots{*policy_, reward_.get(), credit_.get(), *selector_, worlds_.get(), processes_};
  batch_ = collect(slots, data_, cursor_, rollout_seed(number), options, found);
  tokens_ += static_cast<int64_t>(found.mean("sampled_tokens"));
  metrics.merge(found);
  if (batch_.rows() && single_decisions()) batch_ = actor_->decisions(batch_);
  shuffled_pass_ = -1;
  updates_ = batch_.rows() ? updates_of(batch_.rows()) : 1;
  // With one update the current policy is the old one, and every ratio is exactly 1. With several, or where an earlier
  // policy sampled, the sampler's own log-probabilities are the old policy's: the sampler and the trainer compute the
  // same number.
  if ((updates_ > 1 || ahead_) && batch_.rows() && !batch_.old_logp.defined()) batch_.old_logp = batch_.logp;
}

void StageTrainer::next_batch(Metrics& metrics) {
  update_ = 0;
  if (needs_.data == Needs::Data::rollout) return next_rollout(metrics);
  if (replay_) {
    updates_ = 1;
    if (config_.train.timesteps || config_.worlds.steps) refill_replay(metrics);
    return;
  }
  batch_ = draw_rows();
  tokens_ += batch_.mask.sum().item<int64_t>();
  updates_ = 1;
}

/// The rows of this update: all of batch_, or the next train.batch_size in an order of its own every pass.
Experience StageTrainer::next_chunk() {
  if (replay_) return batch_ = draw_decisions();
  if (updates_ <= config_.train.iterations) return batch_;
  int64_t chunks = updates_ / config_.train.iterations, pass = update_ / chunks;
  int64_t at = update_ % chunks * config_.train.batch_size;
  int64_t count = online_pairs_ ? batch_.rows() / 2 : batch_.rows(),
          size = std::min(config_.train.batch_size, count - at);
  if (shuffled_pass_ != pass) {
    auto order = at::tensor(permutation(count, mix(mix(seed_, kShuffle), rollouts_taken() * 4096 + pass)), at::kLong);
    shuffled_ = batch_.select(rows_of_blocks(order, count, online_pairs_ ? 2 : 1));
    shuffled_pass_ = pass;
  }
  if (!online_pairs_) return shuffled_.narrow(at, size);
  return shuffled_.select(rows_of_blocks(at::arange(at, at + size, at::kLong), count, 2));
}

void StageTrainer::step(Metrics& metrics, const std::string& rescue) {
  Clock clock;
  int64_t sent = all_ ? all_->bytes_sent() : 0;
  if (update_ >= updates_) next_batch(metrics);
  double prepared = clock.lap();
  Experience chunk = next_chunk();
  ++update_, ++steps_;
  if (chunk.rows() == 0) return skipped("the selector kept no rows", chunk, "", metrics);
  UpdateOptions options;
  options.micro_batch_size = config_.train.micro_batch_size.value_or(0);
  options.micro_batch_tokens = config_.train.micro_batch_tokens.value_or(0);
  options.max_grad_norm = config_.train.max_grad_norm;
  options.compare_logp = needs_.data == Needs::Data::rollout && update_ == 1;
  options.off_policy = ahead_ != nullptr;
  options.lr =
      rate_ ? rate_->rate() : learning_rate(config_.train.schedule, *config_.train.optimizer.lr, steps_ - 1, total_);
  if (rate_ && !options.compare_logp) options.rate = [this](const Metrics& found) { return rate_->next(found); };
  options.reward = reward_.get();
  options.processes = processes_;
  options.blocks = online_pairs_ ? 2 : needs_.blocks();
  if (levels_ && (steps_ - 1) % levels_->meta_every() == 0) learn_outer(chunk, options, metrics);
  UpdateResult result = update(*policy_, *objective_, *optimizer_, chunk, needs_, options, metrics);
  if (needs_.pathwise) batch_ = chunk;  // with the samples that were made
  if (!result.finite) return skipped(result.problem, chunk, rescue, metrics);
  skipped_in_row_ = 0;
  policy_->stepped(steps_);
  double trained = clock.lap();
  metrics.add("time/train", trained);
  metrics.add("step_time", prepared + trained);
  if (all_) metrics.add("network/bytes_sent", static_cast<double>(all_->bytes_sent() - sent));
}

void StageTrainer::skipped(const std::string& problem, const Experience& batch, const std::string& rescue,
                           Metrics& metrics) {
  ++skipped_;
  metrics.add("skipped_steps", static_cast<double>(skipped_));
  log::warn(cat("step ", steps_, " was skipped: ", problem));
  if (batch.rows() == 0) return;
  if (++skipped_in_row_ < config_.train.max_nonfinite_steps) return;
  if (!rescue.empty()) save_experience(rescue, batch);
  run_failed("train", "stopped after ", skipped_in_row_, " steps in a row that were not finite; the last: ", problem,
             rescue.empty() ? "" : "; its batch is in " + rescue + ".safetensors");
}

/// Whole episodes, greedily, from starts that are the same every time.
void StageTrainer::evaluate_episodes(Metrics& metrics) {
  Metrics found;
  std::vector<Tensor> frames;
  int64_t limit = config_.worlds.max_steps.value_or(eval_worlds_->spec().max_steps);
  int64_t at = 0, every = std::max<int64_t>(limit / kFrames, 1);
  auto show = [&](const Environment& environment) {
    auto* rendered = dynamic_cast<const Rendered*>(&environment.unwrapped());
    if (rendered && steps_ == total_ && at++ % every == 0)
      frames.push_back(rendered->render(kFrameHeight, kFrameWidth));
  };
  Experience episodes =
      eval_worlds_->episodes(*actor_, config_.worlds.eval_episodes, 1, mix(seed_, kEvaluation),
                             {.greedy = true, .raw = reward_ != nullptr, .each_step = reward_ != nullptr}, found, show);
  if (reward_) attach_rewards(episodes, *reward_, 1.0, "eval/", metrics, processes_);
  for (const auto& [name, value] : found.means()) metrics.add("eval/" + name, value);
  if (found.has("episode/return")) metrics.add("eval/reward", found.mean("episode/return"));
  eval_frames_ = frames.empty() ? Tensor() : at::stack(frames);
}

/// The objective's own numbers on the held-out rows (eval/accuracy, ...).
void StageTrainer::evaluate_scores(Metrics& metrics) {
  int64_t count = contexts_in(eval_);
  if (count == 0) return;
  at::NoGradGuard no_grad;
  constexpr int64_t kRows = 256;
  for (int64_t at = 0; at < count; at += kRows) {
    Tensor rows = at::arange(at, std::min(at + kRows, count));
    Experience part = eval_.select(rows_of_blocks(rows, count, needs_.blocks()));
    part.fill_totals();
    Loss loss = objective_->loss(policy_->evaluate(part, needs_), part);
    auto share = static_cast<double>(rows.numel());
    metrics.add("eval/loss", loss.total().item<double>(), share);
    for (const auto& [name, value] : loss.metrics.means()) metrics.add("eval/" + name, value, share);
  }
}

void StageTrainer::compare_weights() const {
  if (!all_) return;
  auto mine = optimizer_->fingerprints();
  std::vector<std::string> different;
  auto all = all_->gather(cat(mine.shared, ",", mine.own));
  size_t tensor = tensor_ ? static_cast<size_t>(tensor_->size()) : 1;
  for (size_t rank = 0; rank < all.size(); ++rank)
    if (all[rank] != all[rank % tensor] || split(all[rank], ',')[0] != split(all[0], ',')[0])
      different.push_back(std::to_string(rank));
  if (!different.empty())
    run_failed("train", "after step ", steps_, " the weights of rank ", join(different, ", "),
               " are not those of rank 0; do all hosts have the same CPU and the same files?");
}

void StageTrainer::evaluate(Metrics& metrics) {
  if (worlds_ || needs_.score || reward_) gather_weights();
  if (worlds_) return evaluate_episodes(metrics);
  if (needs_.score) return evaluate_scores(metrics);
  if (!eval_.context.rows() || !reward_) return;
  at::NoGradGuard no_grad;
  constexpr int64_t kRows = 256;
  double rows = 0, sum = 0;
  for (int64_t at = 0; at < eval_.rows(); at += kRows) {
    auto part = eval_.select(at::arange(at, std::min(at + kRows, eval_.rows())));
    SampleRequest request;
    request.greedy = true;
    ScoringSpent spent;
    Experience answers = sample_and_score_together({processes_}, *policy_, reward_.get(), part, request, spent);
    attach_rewards(answers, *reward_, 1.0, "eval/", metrics, processes_);
    if (at == 0) eval_images_ = answers.extra.find(extra::image);
    Tensor reward = ops::row_rewards(answers), good = reward.masked_select(reward.isnan().logical_not());
    rows += static_cast<double>(good.numel()), sum += good.sum(at::kDouble).item<double>();
    metrics.add("eval/completions/mean_length", answers.mask.sum(1).to(at::kDouble).mean().item<double>(),
                static_cast<double>(part.rows()));
  }
  if (rows > 0) metrics.add("eval/reward", sum / rows, rows);
}

}  // namespace rft
