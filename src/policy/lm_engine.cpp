#include "rft/policy/lm_engine.h"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>

#include <algorithm>
#include <deque>
#include <memory>

#include "policy/decode_model.h"
#include "policy/growing_row.h"
#include "policy/guide.h"
#include "policy/kv_pages.h"
#include "policy/token_engine.h"
#include "rft/core/error.h"

namespace rft {
namespace {

/// Prompt tokens of one forward pass.
constexpr int64_t kPrefillTokens = 512;
/// Tokens of a prompt that attend as one tile.
constexpr int64_t kTileTokens = 8;

/// A request's prompt, shared by the samples that answer it.
struct Group {
  Group(std::shared_ptr<LmRequest> asked, KvPool& pool) : request(std::move(asked)), kv(pool) {
    sampling = token_sampling(request->options, request->greedy);
  }
  std::shared_ptr<LmRequest> request;
  ops::TokenSampling sampling;
  KvSequence kv;
  std::vector<float> logits;  ///< after the prompt's last token; empty until then

  int64_t length() const { return static_cast<int64_t>(request->prompt.size()); }
  bool ready() const { return !logits.empty(); }
};

/// A sample in the making.
struct Slot {
  Slot(int64_t number, std::shared_ptr<Group> prompt, KvPool& pool, const Tokenizer* tokenizer)
      : sample(number),
        group(std::move(prompt)),
        kv(pool),
        growing(group->request->options, tokenizer, group->request->prompt, group->request->seed, number,
                group->request->rows[static_cast<size_t>(number)]) {}

  int64_t sample;
  std::shared_ptr<Group> group;
  KvSequence kv;
  GrowingRow growing;
};

class CpuEngine : public TokenEngine {
 public:
  CpuEngine(const Decoder& decoder, const Tokenizer* given, int64_t size, const Guide& by)
      : model(decoder), pool(model.kv_layout()), tokenizer(given), batch_size(static_cast<size_t>(size)) {
    if (by.decoder) guide = std::make_unique<GuideModel>(by, model.vocab());
  }

  void add(std::shared_ptr<LmRequest> request) override { waiting.push_back(std::move(request)); }
  bool step() override;
  int64_t tokens_sampled() const override { return tokens; }
  int64_t samples_done() const override { return done; }

 private:
  void admit();
  void add_prompts();
  void add_prompt_tokens(Group& group, int64_t count);
  void add_rows();
  void take_logits(const float* logits);
  void sample(const std::vector<std::pair<Slot*, const float*>>& from);
  void accept(Slot& slot, const ops::SampledToken& token);
  void retire();

  /// Numbers of a row of logits: with a guide those that are drawn from stand behind the model's own.
  int64_t width() const { return guide ? 2 * model.vocab() : model.vocab(); }
  ops::SampledToken drawn_token(const Slot& slot, const float* logits) const;

  DecodeModel model;
  std::unique_ptr<GuideModel> guide;
  KvPool pool;
  const Tokenizer* tokenizer;
  size_t batch_size;

  std::deque<std::shared_ptr<LmRequest>> waiting;
  std::shared_ptr<Group> newest;  ///< the group of waiting's first, of whose samples some may run already
  int64_t next_sample = 0;        ///< of it
  std::vector<std::shared_ptr<Group>> unready;
  std::vector<std::unique_ptr<Slot>> slots;
  DecodeBatch batch;
  std::vector<Slot*> running;     ///< whose logits the coming forward pass gives, in the order of batch.outputs
  std::vector<Group*> finishing;  ///< prompts whose last token it holds; their logits follow
  int64_t tokens = 0, done = 0;
};

/// Gives free places to waiting rows, in their order. Rows whose prompt is ready sample their first token at once.
void CpuEngine::admit() {
  std::vector<std::pair<Slot*, const float*>> first;
  while (slots.size() < batch_size && !waiting.empty()) {
    const std::shared_ptr<LmRequest>& request = waiting.front();
    if (next_sample == 0) {
      newest = std::make_shared<Group>(request, pool);
      unready.push_back(newest);
    }
    auto slot = std::make_unique<Slot>(next_sample, newest, pool, tokenizer);
    if (newest->ready()) first.emplace_back(slot.get(), newest->logits.data());
    slots.push_back(std::move(slot));
    if (++next_sample < request->samples) continue;
    waiting.pop_front();
    newest.reset(), next_sample = 0;
  }
  sample(first);
  retire();
}

/// Adds every running row's last token to the batch.
void CpuEngine::add_rows() {
  for (const auto& slot : slots) {
    const std::vector<int64_t>& ids = slot->growing.row().ids;
    if (ids.empty()) continue;
    const int64_t prompt = slot->group->length();
    const KvSequence::Place place = slot->kv.append();
    ops::AttentionTile tile;
    tile.token = batch.tokens();
    tile.visible = prompt + slot->kv.length();
    slot->group->kv.add_to(tile, prompt);
    slot->kv.add_to(tile, slot->kv.length());
    batch.outputs.push_back(batch.tokens());
    batch.ids.push_back(ids.back());
    batch.positions.push_back(tile.visible - 1);
    batch.pages.push_back(place.page);
    batch.slots.push_back(place.slot);
    batch.sets.push_back(slot->group->request->adapters);
    batch.tiles.push_back(std::move(tile));
    running.push_back(slot.get());
  }
}

/// Adds prompt tokens, as many as a pass takes.
void CpuEngine::add_prompts() {
  int64_t room = kPrefillTokens;
  for (const auto& group : unready) {
    const int64_t count = std::min(room, group->length() - group->kv.length());
    add_prompt_tokens(*group, count);
    room -= count;
    if (group->kv.length() < group->length()) break;
    batch.outputs.push_back(batch.tokens() - 1);
    finishing.push_back(group.get());
  }
  unready.erase(unready.begin(), unready.begin() + static_cast<int64_t>(finishing.size()));
}

void CpuEngine::add_prompt_tokens(Group& group, int64_t count) {
  for (int64_t done = 0; done < count;) {
    ops::AttentionTile tile;
    tile.token = batch.tokens();
    tile.tokens = std::min(kTileTokens, count - done);
    tile.visible = group.kv.length() + 1;
    for (int64_t t = 0; t < tile.tokens; ++t) {
      const int64_t position = group.kv.length();
      const KvSequence::Place place = group.kv.append();
      batch.ids.push_back(group.request->prompt[static_cast<size_t>(position)]);
      batch.positions.push_back(position);
      batch.pages.push_back(place.page);
      batch.slots.push_back(place.slot);
      batch.sets.push_back(group.request->adapters);
    }
    group.kv.add_to(tile, group.kv.length());
    done += tile.tokens;
    batch.tiles.push_back(std::move(tile));
  }
}

/// Samples the running rows' next tokens, and the first ones of rows whose prompt is done.
void CpuEngine::take_logits(const float* logits) {
  std::vector<std::pair<Slot*, const float*>> from;
  for (Slot* slot : running) {
    from.emplace_back(slot, logits);
    logits += width();
  }
  for (Group* group : finishing) {
    group->logits.assign(logits, logits + width());
    logits += width();
    for (const auto& slot : slots) {
      if (slot->group.get() == group) from.emplace_back(slot.get(), group->logits.data());
    }
  }
  sample(from);
}

ops::SampledToken CpuEngine::drawn_token(const Slot& slot, const float* logits) const {
  const ops::TokenSampling& sampling = slot.group->sampling;
  if (guide && guide->masks()) return slot.growing.draw(logits + model.vocab(), model.vocab(), sampling);
  const ops::SampledToken own = slot.growing.draw(logits, model.vocab(), sampling);
  if (!guide || own.id < 0) return own;
  return reported(slot.growing.draw(logits + model.vocab(), model.vocab(), sampling), own, logits,
                  sampling.temperature);
}

void CpuEngine::sample(const std::vector<std::pair<Slot*, const float*>>& from) {
  std::vector<ops::SampledToken> drawn(from.size());
  const int64_t grain = std::max<int64_t>(1, (int64_t{1} << 15) / (model.vocab() + 4096));
  at::parallel_for(0, static_cast<int64_t>(from.size()), grain, [&](int64_t first, int64_t last) {
    for (auto i = static_cast<size_t>(first); i < static_cast<size_t>(last); ++i) {
      drawn[i] = drawn_token(*from[i].first, from[i].second);
    }
  });
  for (size_t i = 0; i < from.size(); ++i) accept(*from[i].first, drawn[i]);
}

void CpuEngine::accept(Slot& slot, const ops::SampledToken& token) {
  const LmRequest& request = *slot.group->request;
  slot.growing.accept(token);
  ++tokens;
  if (request.on_token && !request.on_token(slot.sample, slot.growing.row(), slot.growing.done())) slot.growing.end();
}

void CpuEngine::retire() {
  done += static_cast<int64_t>(std::erase_if(slots, [](const auto& slot) { return slot->growing.done(); }));
}

bool CpuEngine::step() {
  const c10::InferenceMode inference;
  admit();
  batch.clear(), running.clear(), finishing.clear();
  add_rows();
  add_prompts();
  if (batch.tokens() > 0) {
    const float* logits = model.forward(batch);
    take_logits(guide ? guide->beside(logits, batch) : logits);
  }
  retire();
  return batch.tokens() > 0 || !waiting.empty();
}

}  // namespace

TokenEngineMaker& gpu_engine() {
  static TokenEngineMaker maker = nullptr;
  return maker;
}

LmEngine::LmEngine(const Decoder& decoder, const Tokenizer* tokenizer, int64_t batch_size, const Guide& guide) {
  patterns_ = decoder.device().is_cpu();
  if (patterns_) {
    engine_ = std::make_unique<CpuEngine>(decoder, tokenizer, batch_size, guide);
    return;
  }
  if (guide.decoder) bad_input("sampler", "a second model guides what is sampled on the CPU, not on a GPU");
  if (!gpu_engine()) run_failed("sampler", "rft's CUDA part is not loaded (device_of() does it)");
  engine_ = gpu_engine()(decoder, tokenizer, batch_size);
}
LmEngine::~LmEngine() = default;

void LmEngine::add(std::shared_ptr<LmRequest> request) {
  if (request->options.pattern && !patterns_)
    bad_input("sampler", "answers of a given form are sampled on the CPU, not on a GPU");
  if (request->adapters != 0 && !patterns_)
    bad_input("sampler", "further sets of adapters are sampled with on the CPU, not on a GPU");
  request->rows.assign(static_cast<size_t>(request->samples), {});
  engine_->add(std::move(request));
}

bool LmEngine::step() { return engine_->step(); }
int64_t LmEngine::tokens_sampled() const { return engine_->tokens_sampled(); }
int64_t LmEngine::samples_done() const { return engine_->samples_done(); }

int64_t default_batch_size(const Decoder& decoder, int64_t max_new_tokens) {
  if (!decoder.device().is_cpu()) return 512;
  const DecoderConfig& config = decoder.config();
  const ops::KvLayout layout{config.layers, config.kv_heads, config.head_dim};
  const int64_t pages = (max_new_tokens + ops::kv_page - 1) / ops::kv_page;
  return std::clamp<int64_t>((int64_t{2} << 30) / (pages * layout.page_floats() * 4), 1, 64);
}

void check_request(const LmRequest& request, const DecoderConfig& config, const std::string& where) {
  const int64_t new_tokens = request.options.max_new_tokens;
  if (new_tokens < 1) bad_input("sampler", "max_new_tokens must be at least 1; got ", new_tokens);
  for (const std::string& stop : request.options.stop)
    if (stop.empty()) bad_input("sampler", "a stop text must not be empty");
  if (request.prompt.empty()) bad_input(where, "the prompt has no tokens; the model needs at least one to go on from");
  for (int64_t id : request.prompt)
    if (id < 0 || id >= config.vocab_size)
      bad_input(where, "token ids must be in 0 .. ", config.vocab_size - 1, "; got ", id);
  if (static_cast<int64_t>(request.prompt.size()) + new_tokens > config.max_positions)
    bad_input(where, "its ", request.prompt.size(), " tokens and max_new_tokens ", new_tokens, " exceed the model's ",
              config.max_positions, " positions");
}

}  // namespace rft
