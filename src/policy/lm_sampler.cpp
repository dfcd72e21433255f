#include "rft/policy/lm_sampler.h"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>

#include <algorithm>
#include <memory>
#include <optional>

#include "policy/decode_model.h"
#include "policy/kv_pages.h"
#include "rft/core/error.h"
#include "rft/core/rng.h"
#include "rft/ops/decode_sample.h"

namespace rft {
namespace {

/// Prompt tokens of one forward pass.
constexpr int64_t kPrefillTokens = 512;
/// Tokens of a prompt that attend as one tile.
constexpr int64_t kTileTokens = 8;

/// A prompt, shared by the rows that answer it.
struct Group {
  Group(const std::vector<int64_t>& prompt, KvPool& pool) : ids(&prompt), kv(pool) {}
  const std::vector<int64_t>* ids;
  KvSequence kv;
  std::vector<float> logits;  ///< after the prompt's last token; empty until then

  int64_t length() const { return static_cast<int64_t>(ids->size()); }
  bool ready() const { return !logits.empty(); }
};

/// A completion in the making.
struct Slot {
  Slot(int64_t number, std::shared_ptr<Group> prompt, KvPool& pool, const Tokenizer* tokenizer)
      : row(number), group(std::move(prompt)), kv(pool) {
    if (tokenizer) text_decoder.emplace(*tokenizer);
  }
  int64_t row;
  std::shared_ptr<Group> group;
  KvSequence kv;
  std::vector<int64_t> seen;  ///< for the repetition penalty
  std::optional<StreamDecoder> text_decoder;
  std::string text;
  bool done = false;
};

class Sampler {
 public:
  Sampler(const Decoder& decoder, const Tokenizer* tokenizer, const std::vector<std::vector<int64_t>>& prompts,
          int64_t group_size, uint64_t seed, bool greedy, const SamplerOptions& options);
  std::vector<SampledRow> run(const SamplerProgress& progress);

 private:
  int64_t choose_batch_size() const;
  void admit();
  void add_prompts();
  void add_prompt_tokens(Group& group, int64_t count);
  void add_rows();
  void take_logits(const float* logits);
  void sample(const std::vector<std::pair<Slot*, const float*>>& from);
  void accept(Slot& slot, const ops::SampledToken& token);
  bool meets_stop_text(Slot& slot, int64_t id, SampledRow& row);
  void retire();

  DecodeModel model_;
  KvPool pool_;
  const Tokenizer* tokenizer_;
  const std::vector<std::vector<int64_t>>& prompts_;
  int64_t group_size_;
  uint64_t seed_;
  SamplerOptions options_;
  ops::TokenSampling sampling_;
  size_t batch_size_;
  size_t longest_stop_ = 0;

  std::vector<SampledRow> rows_;
  int64_t next_row_ = 0, rows_done_ = 0, tokens_ = 0;
  std::shared_ptr<Group> newest_;  ///< the group of row next_row_ - 1
  std::vector<std::shared_ptr<Group>> unready_;
  std::vector<std::unique_ptr<Slot>> slots_;
  DecodeBatch batch_;
  std::vector<Slot*> running_;     ///< whose logits the coming forward pass gives, in the order of batch_.outputs
  std::vector<Group*> finishing_;  ///< prompts whose last token it holds; their logits follow
};

Sampler::Sampler(const Decoder& decoder, const Tokenizer* tokenizer, const std::vector<std::vector<int64_t>>& prompts,
                 int64_t group_size, uint64_t seed, bool greedy, const SamplerOptions& options)
    : model_(decoder),
      pool_(model_.kv_layout()),
      tokenizer_(options.stop.empty() ? nullptr : tokenizer),
      prompts_(prompts),
      group_size_(group_size),
      seed_(seed),
      options_(options),
      sampling_{greedy ? 0 : options.temperature, options.top_k, options.top_p, options.min_p,
                options.repetition_penalty},
      rows_(prompts.size() * static_cast<size_t>(group_size)) {
  batch_size_ = static_cast<size_t>(options.batch_size > 0 ? options.batch_size : choose_batch_size());
  for (const std::string& stop : options.stop) longest_stop_ = std::max(longest_stop_, stop.size());
}

int64_t Sampler::choose_batch_size() const {
  const int64_t row_pages = (options_.max_new_tokens + ops::kv_page - 1) / ops::kv_page;
  const int64_t row_bytes = row_pages * model_.kv_layout().page_floats() * 4;
  return std::clamp<int64_t>((int64_t{2} << 30) / row_bytes, 1, 64);
}

std::vector<SampledRow> Sampler::run(const SamplerProgress& progress) {
  const auto total = static_cast<int64_t>(rows_.size());
  while (rows_done_ < total) {
    admit();
    batch_.clear(), running_.clear(), finishing_.clear();
    add_rows();
    add_prompts();
    if (batch_.tokens() > 0) take_logits(model_.forward(batch_));
    retire();
    if (progress) progress(rows_done_, tokens_);
  }
  return std::move(rows_);
}

/// Gives free places to waiting rows, in their order. Rows whose prompt is ready sample their first token at once.
void Sampler::admit() {
  std::vector<std::pair<Slot*, const float*>> first;
  while (slots_.size() < batch_size_ && next_row_ < static_cast<int64_t>(rows_.size())) {
    if (next_row_ % group_size_ == 0) {
      newest_ = std::make_shared<Group>(prompts_[static_cast<size_t>(next_row_ / group_size_)], pool_);
      unready_.push_back(newest_);
    }
    auto slot = std::make_unique<Slot>(next_row_++, newest_, pool_, tokenizer_);
    if (options_.repetition_penalty != 1) slot->seen = *newest_->ids;
    if (newest_->ready()) first.emplace_back(slot.get(), newest_->logits.data());
    slots_.push_back(std::move(slot));
  }
  sample(first);
  retire();
}

/// Adds every running row's last token to the batch.
void Sampler::add_rows() {
  for (const auto& slot : slots_) {
    const std::vector<int64_t>& ids = rows_[static_cast<size_t>(slot->row)].ids;
    if (ids.empty()) continue;
    const int64_t prompt = slot->group->length();
    const KvSequence::Place place = slot->kv.append();
    ops::AttentionTile tile;
    tile.token = batch_.tokens();
    tile.visible = prompt + slot->kv.length();
    slot->group->kv.add_to(tile, prompt);
    slot->kv.add_to(tile, slot->kv.length());
    batch_.outputs.push_back(batch_.tokens());
    batch_.ids.push_back(ids.back());
    batch_.positions.push_back(tile.visible - 1);
    batch_.pages.push_back(place.page);
    batch_.slots.push_back(place.slot);
    batch_.tiles.push_back(std::move(tile));
    running_.push_back(slot.get());
  }
}

/// Adds prompt tokens, as many as a pass takes.
void Sampler::add_prompts() {
  int64_t room = kPrefillTokens;
  for (const auto& group : unready_) {
    const int64_t count = std::min(room, group->length() - group->kv.length());
    add_prompt_tokens(*group, count);
    room -= count;
    if (group->kv.length() < group->length()) break;
    batch_.outputs.push_back(batch_.tokens() - 1);
    finishing_.push_back(group.get());
  }
  unready_.erase(unready_.begin(), unready_.begin() + static_cast<int64_t>(finishing_.size()));
}

void Sampler::add_prompt_tokens(Group& group, int64_t count) {
  for (int64_t done = 0; done < count;) {
    ops::AttentionTile tile;
    tile.token = batch_.tokens();
    tile.tokens = std::min(kTileTokens, count - done);
    tile.visible = group.kv.length() + 1;
    for (int64_t t = 0; t < tile.tokens; ++t) {
      const int64_t position = group.kv.length();
      const KvSequence::Place place = group.kv.append();
      batch_.ids.push_back((*group.ids)[static_cast<size_t>(position)]);
      batch_.positions.push_back(position);
      batch_.pages.push_back(place.page);
      batch_.slots.push_back(place.slot);
    }
    group.kv.add_to(tile, group.kv.length());
    done += tile.tokens;
    batch_.tiles.push_back(std::move(tile));
  }
}

/// Samples the running rows' next tokens, and the first ones of rows whose prompt is done.
void Sampler::take_logits(const float* logits) {
  std::vector<std::pair<Slot*, const float*>> from;
  for (Slot* slot : running_) {
    from.emplace_back(slot, logits);
    logits += model_.vocab();
  }
  for (Group* group : finishing_) {
    group->logits.assign(logits, logits + model_.vocab());
    logits += model_.vocab();
    for (const auto& slot : slots_) {
      if (slot->group.get() == group) from.emplace_back(slot.get(), group->logits.data());
    }
  }
  sample(from);
}

void Sampler::sample(const std::vector<std::pair<Slot*, const float*>>& from) {
  std::vector<ops::SampledToken> tokens(from.size());
  const int64_t grain = std::max<int64_t>(1, (int64_t{1} << 15) / (model_.vocab() + 4096));
  at::parallel_for(0, static_cast<int64_t>(from.size()), grain, [&](int64_t first, int64_t last) {
    for (auto i = static_cast<size_t>(first); i < static_cast<size_t>(last); ++i) {
      const auto& [slot, logits] = from[i];
      const auto row = static_cast<uint64_t>(slot->row);
      const double uniform =
          Rng(seed_, static_cast<uint64_t>(options_.first_row) + row).uniform(rows_[slot->row].ids.size());
      tokens[i] = ops::sample_token(logits, model_.vocab(), sampling_, slot->seen, uniform);
    }
  });
  for (size_t i = 0; i < from.size(); ++i) accept(*from[i].first, tokens[i]);
}

void Sampler::accept(Slot& slot, const ops::SampledToken& token) {
  SampledRow& row = rows_[static_cast<size_t>(slot.row)];
  row.ids.push_back(token.id);
  row.logp.push_back(token.logp);
  if (options_.entropy) row.entropy.push_back(token.entropy);
  if (options_.repetition_penalty != 1) slot.seen.push_back(token.id);
  ++tokens_;
  const std::vector<int64_t>& eos = options_.eos_ids;
  if (std::find(eos.begin(), eos.end(), token.id) != eos.end() || meets_stop_text(slot, token.id, row)) {
    slot.done = true;
  } else if (static_cast<int64_t>(row.ids.size()) >= options_.max_new_tokens) {
    slot.done = row.truncated = true;
  }
}

bool Sampler::meets_stop_text(Slot& slot, int64_t id, SampledRow& row) {
  if (!slot.text_decoder) return false;
  const std::string piece = slot.text_decoder->push(id);
  const size_t known = slot.text.size(), from = known < longest_stop_ ? 0 : known - longest_stop_ + 1;
  slot.text += piece;
  for (const std::string& stop : options_.stop) {
    if (slot.text.find(stop, from) == std::string::npos) continue;
    row.stop = stop;
    return true;
  }
  return false;
}

void Sampler::retire() {
  rows_done_ += static_cast<int64_t>(std::erase_if(slots_, [](const auto& slot) { return slot->done; }));
}

void check(const Decoder& decoder, const Tokenizer* tokenizer, const std::vector<std::vector<int64_t>>& prompts,
           const SamplerOptions& options) {
  const DecoderConfig& config = decoder.config();
  if (options.max_new_tokens < 1)
    bad_input("sampler", "max_new_tokens must be at least 1; got ", options.max_new_tokens);
  if (!options.stop.empty() && !tokenizer) run_failed("sampler", "stop texts need a tokenizer");
  for (const std::string& stop : options.stop) {
    if (stop.empty()) bad_input("sampler", "a stop text must not be empty");
  }
  for (size_t i = 0; i < prompts.size(); ++i) {
    const std::string where = cat("prompt ", i);
    if (prompts[i].empty()) bad_input(where, "the prompt has no tokens; the model needs at least one to go on from");
    for (int64_t id : prompts[i]) {
      if (id < 0 || id >= config.vocab_size) {
        bad_input(where, "token ids must be in 0 .. ", config.vocab_size - 1, "; got ", id);
      }
    }
    const int64_t length = static_cast<int64_t>(prompts[i].size()) + options.max_new_tokens;
    if (length > config.max_positions) {
      bad_input(where, "its ", prompts[i].size(), " tokens and max_new_tokens ", options.max_new_tokens,
                " exceed the model's ", config.max_positions, " positions");
    }
  }
}

}  // namespace

std::vector<SampledRow> sample_rows(const Decoder& decoder, const Tokenizer* tokenizer,
                                    const std::vector<std::vector<int64_t>>& prompts, int64_t group_size, uint64_t seed,
                                    bool greedy, const SamplerOptions& options, const SamplerProgress& progress) {
  check(decoder, tokenizer, prompts, options);
  const c10::InferenceMode inference;
  return Sampler(decoder, tokenizer, prompts, group_size, seed, greedy, options).run(progress);
}

}  // namespace rft
