// The part of StageTrainer that reads rows, and draws batches of those that are learned from as they are.
#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>

#include "rft/core/error.h"
#include "rft/core/extra.h"
#include "rft/core/log.h"
#include "rft/core/rng.h"
#include "rft/core/text.h"
#include "rft/policy/counts_tokens.h"
#include "rft/policy/gathers_layers.h"
#include "rft/rollout/spread.h"
#include "train/micro_batches.h"
#include "train/stage_trainer.h"
#include "train/streams.h"

namespace rft {
namespace {

/// "label": true or false, what people thought of a completion.
Experience with_labels(Experience batch, const Rows& rows) {
  std::vector<float> labels;
  for (int64_t i = 0; i < rows.size(); ++i) {
    std::string label = rows.text(i, extra::label);
    if (label != "true" && label != "false") bad_input(rows.where(i), "`label` must be true or false; got ", label);
    labels.push_back(label == "true" ? 1.0f : 0.0f);
  }
  batch.extra.set(extra::label, at::tensor(labels));
  return batch;
}

/// "margin": how much better the chosen answer was found; where the rows have that column.
Experience with_margins(Experience batch, const Rows& rows) {
  if (rows.size() == 0 || !rows.has(0, extra::margin)) return batch;
  std::vector<float> margins;
  for (int64_t i = 0; i < rows.size(); ++i) margins.push_back(static_cast<float>(rows.number(i, extra::margin)));
  batch.extra.set(extra::margin, at::tensor(margins).repeat({2}));
  return batch;
}

/// Pairs, and the rows' own completions as a third block.
Experience with_gold(Policy& policy, const Rows& rows) {
  Experience pairs = policy.pairs(rows), gold = policy.demonstrations(rows);
  pairs.extra.set(extra::given, at::zeros({pairs.rows()}, at::kBool));
  gold.extra.set(extra::given, at::ones({gold.rows()}, at::kBool));
  return Experience::concat({pairs, gold});
}

Experience encode(Policy& policy, const Needs& needs, const Rows& rows, RewardModel* reward) {
  bool rewarded = needs.pathwise || needs.data == Needs::Data::rollout;
  if (reward && rewarded)
    for (const auto& column : reward->columns()) rows.require(column);
  switch (needs.data) {
    case Needs::Data::demonstrations:
      return policy.demonstrations(rows);
    case Needs::Data::unpaired:
      return with_labels(policy.demonstrations(rows), rows);
    case Needs::Data::pairs:
      return needs.gold ? with_gold(policy, rows) : with_margins(policy.pairs(rows), rows);
    case Needs::Data::steps:
      return policy.steps(rows);
    default:
      return policy.contexts(rows);
  }
}

}  // namespace

/// Pairs are 2N rows of which a step takes some: the chosen ones first.
int64_t StageTrainer::contexts_in(const Experience& data) const { return data.context.rows() / needs_.blocks(); }

void StageTrainer::read_rows() {
  Rows rows = Rows::load(config_.data.rows());
  fingerprint_ = rows.fingerprint();
  for (const std::string& column : config_.rollout.reprompt.columns()) rows.require(column);
  rows = policy_->usable(rows, needs_);
  if (config_.rollout.given_answers) {
    Needs shown;
    shown.data = Needs::Data::demonstrations;
    rows = policy_->usable(rows, shown);
  }
  data_ = encode(*policy_, needs_, rows, reward_.get());
  ask_otherwise(*policy_, data_, config_.rollout.reprompt);
  if (config_.rollout.given_answers) gold_ = policy_->demonstrations(rows);
  bool single = actor_ && config_.worlds.learn_from != "rows" && actor_->memory() == 0;
  if (single && needs_.data == Needs::Data::demonstrations) data_ = actor_->decisions(data_);
  order_rows(rows);
  report_packing(rows);
  if (processes_ && needs_.data == Needs::Data::rollout)
    lengths_ = std::make_unique<AnswerLengths>(data_.context.rows());
  if (config_.data.eval.empty()) return;
  Rows held_out = Rows::load(config_.data.eval);
  if (reward_)
    for (const auto& column : reward_->columns()) held_out.require(column);
  bool judges = needs_.score;  // a reward model answers nothing: it is held against the verdicts it should give
  Needs answers = needs_;
  answers.data = Needs::Data::rollout;
  held_out = policy_->usable(held_out, judges ? needs_ : answers);
  eval_ = judges ? encode(*policy_, needs_, held_out, nullptr) : policy_->contexts(held_out);
  ask_otherwise(*policy_, eval_, config_.rollout.reprompt);
  int64_t limit = config_.data.eval_rows;
  if (limit <= 0 || limit >= held_out.size()) return;
  Tensor first = at::arange(limit, at::kLong);
  eval_ = eval_.select(rows_of_blocks(first, held_out.size(), judges ? needs_.blocks() : 1));
}

void StageTrainer::order_rows(const Rows& rows) {
  int64_t contexts = contexts_in(data_);
  uint64_t seed = mix(seed_, kOrder);
  if (config_.data.weights.empty()) {
    cursor_ = RowCursor(contexts, config_.data.shuffle, seed);
    return;
  }
  if (contexts != rows.size())
    bad_input("data.weights", "rows that are cut into decisions can't be weighed by their files");
  for (int64_t size : rows.file_sizes())
    if (size == 0) bad_input("data.weights", "a file of which all rows are left out can't be drawn from");
  cursor_ = RowCursor(rows.file_sizes(), config_.data.weights, config_.data.shuffle, seed);
}

/// How the rows of a pass over the data, in the order in which they will be drawn, come to lie in micro-batches. Not of
/// prompts alone: what is judged of them has yet to be written.
void StageTrainer::report_packing(const Rows& rows) const {
  auto* counts = dynamic_cast<const CountsTokens*>(policy_.get());
  if (!counts || !data_.mask.defined()) return;
  const Tensor lengths = counts->row_tokens(data_);
  const TrainOptions& train = config_.train;
  MicroBatchOptions how{.rows = train.micro_batch_size.value_or(0),
                        .tokens = train.micro_batch_tokens.value_or(0),
                        .blocks = needs_.blocks(),
                        .processes = processes_ ? processes_->size() : 1};
  const int64_t contexts = contexts_in(data_), a_step = std::max<int64_t>(train.batch_size, 1);
  RowCursor cursor = cursor_;
  Packing packing;
  for (int64_t seen = 0; seen < contexts; seen += a_step) {
    Tensor drawn = at::tensor(cursor.next(std::min(a_step, contexts - seen)), at::kLong);
    drawn = rows_of_blocks(drawn, contexts, how.blocks);
    how.row_tokens = lengths.index_select(0, drawn);
    packing.add(micro_batches(drawn.numel(), how), how.row_tokens);
  }
  const std::string limit = how.tokens ? cat(" of at most ", how.tokens, " tokens") : "";
  log::info(cat(rows.file(), ": ", packing.rows, " rows of ", packing.tokens, " tokens lie end to end in ",
                packing.packs, " micro-batches", limit, "; ", std::round(1000 * packing.padding()) / 10,
                "% of what their longest rows span is left empty"));
}

/// Rows of one context in a batch that is not rolled out.
int64_t StageTrainer::group_size() const {
  if (needs_.group_size) return needs_.group_size;
  return needs_.data == Needs::Data::contexts ? config_.rollout.group_size : 1;
}

Experience StageTrainer::draw_rows() { return draw_rows_of(data_, cursor_, mix(seed_, kDraws)); }

/// Rows of `data`, each as often as a group is large, with the keys of their random numbers.
Experience StageTrainer::draw_rows_of(const Experience& data, RowCursor& cursor, uint64_t seed) {
  int64_t group = group_size(), contexts = std::max<int64_t>(config_.train.batch_size / group, 1);
  auto index = at::tensor(cursor.next(contexts), at::kLong);
  auto groups = at::arange(contexts, at::kLong).repeat_interleave(group);
  auto rows = index.index_select(0, groups);
  auto draw = draw_keys(rows.numel(), group, mix(seed, static_cast<uint64_t>(steps_)));
  int64_t blocks = needs_.blocks();
  rows = rows_of_blocks(rows, contexts_in(data), blocks);
  groups = groups.repeat({blocks}), draw = draw.repeat({blocks, 1});
  Experience batch = data.select(rows);
  batch.group = groups;
  batch.extra.set(extra::draw, draw);
  if (!batch.mask.defined()) batch.mask = at::ones({rows.numel(), 1}, at::kBool);
  if (needs_.ref_logp) {
    batch.ref_logp = ref_logp_together(processes_, *policy_, batch, needs_);
    if (auto* layered = dynamic_cast<const GathersLayers*>(policy_.get()))
      optimizer_->forward_done(layered->reference_passes());
  }
  return batch;
}

/// The rows of `data.meta`, as the training rows are encoded.
void StageTrainer::read_meta_rows() {
  if (replay_ || worlds_) bad_input("data.meta", "objectives of two levels learn from rows, not in environments");
  Rows rows = policy_->usable(Rows::load(config_.data.meta), needs_);
  for (const std::string& column : config_.rollout.reprompt.columns()) rows.require(column);
  meta_ = encode(*policy_, needs_, rows, reward_.get());
  ask_otherwise(*policy_, meta_, config_.rollout.reprompt);
  meta_cursor_ = RowCursor(contexts_in(meta_), config_.data.shuffle, mix(seed_, kMeta));
}

}  // namespace rft
