#include "cuda/decode_engine.h"

#include <ATen/ATen.h>
#include <c10/core/InferenceMode.h>
#include <c10/util/Exception.h>

#include <algorithm>
#include <deque>
#include <map>
#include <optional>

#include "cuda/decode_prompts.h"
#include "cuda/decode_slots.h"
#include "rft/core/error.h"

namespace rft::cuda {
namespace {

/// Steps that are enqueued at once.
constexpr int64_t kSteps = 16;
static_assert(kSteps + 1 <= DecodeSlots::kRing);
constexpr int64_t kFusedTokens = kernels::kLinearTokens;

/// Batches have one of a few sizes, a graph each.
int64_t bucket_of(int64_t slots) {
  for (int64_t size : {1, 2, 4, 8, 16, 24, 32, 48, 64, 96, 128})
    if (slots <= size) return size;
  return (slots + 63) / 64 * 64;
}

kernels::DecodeSlot slot_state(const DecodeRow& row) {
  const LmRequest& request = *row.group->request;
  const SamplerOptions& o = request.options;
  const ops::TokenSampling sampling = token_sampling(o, request.greedy);
  kernels::DecodeSlot s;
  s.seed = request.seed, s.stream = static_cast<uint64_t>(o.first_row + row.number);
  s.greedy = sampling.temperature == 0, s.scale = s.greedy ? 1 : 1 / sampling.temperature;
  s.top_p = sampling.top_p, s.min_p = sampling.min_p, s.top_k = static_cast<int>(sampling.top_k);
  s.penalty = static_cast<float>(sampling.repetition_penalty), s.max_new = static_cast<int>(o.max_new_tokens);
  s.eos_count = static_cast<int>(std::min<size_t>(o.eos_ids.size(), kernels::kSlotEos));
  for (int i = 0; i < s.eos_count; ++i) s.eos[i] = static_cast<int>(o.eos_ids[static_cast<size_t>(i)]);
  return s;
}

std::vector<unsigned> seen_bits(const LmRequest& request, int64_t vocab) {
  if (request.options.repetition_penalty == 1) return {};
  std::vector<unsigned> bits(static_cast<size_t>((vocab + 31) / 32));
  for (int64_t id : request.prompt) bits[static_cast<size_t>(id / 32)] |= 1u << id % 32;
  return bits;
}

class DecodeEngine : public TokenEngine {
 public:
  DecodeEngine(const Decoder& decoder, const Tokenizer* tokenizer, int64_t batch_size)
      : decoder_(decoder), tokenizer_(tokenizer), batch_size_(batch_size), general_(general_forward(decoder)) {}
  ~DecodeEngine() override { wait(); }

  void add(std::shared_ptr<LmRequest> request) override {
    request->rows.assign(static_cast<size_t>(request->samples), {});
    waiting_.push_back(std::move(request));
  }
  bool step() override;
  int64_t tokens_sampled() const override { return tokens_; }
  int64_t samples_done() const override { return done_; }

 private:
  /// Steps that were enqueued, and whose tokens they make.
  struct Lot {
    struct Part {
      std::shared_ptr<DecodeRow> row;
      int64_t slot, tokens;
    };
    std::vector<Part> parts;
    DecodeSlots::Copied copied;
  };

  at::Device device() const { return decoder_.weights().token_embedding.device(); }
  int64_t vocab() const { return decoder_.weights().head.size(0); }
  void wait() const;
  void make_room();
  int64_t wanted_pages() const;
  void grow_pool(int64_t wanted, int64_t least);
  std::vector<std::shared_ptr<DecodeRow>> admit();
  void start(const std::vector<std::shared_ptr<DecodeRow>>& rows);
  void first_tokens(const std::vector<std::shared_ptr<DecodeRow>>& rows);
  void close_gaps();
  std::optional<Lot> enqueue(const std::vector<std::shared_ptr<DecodeRow>>& started);
  void decode(int64_t bucket);
  void take(const Lot& lot);
  void accept(DecodeRow& row, const kernels::SampledEntry& entry);
  int64_t free_slot() const;

  const Decoder& decoder_;
  const Tokenizer* tokenizer_;
  int64_t batch_size_;
  std::unique_ptr<DecodeForward> general_, fused_;
  PagePool pool_;
  Tensor pages_;
  std::optional<DecodeSlots> slots_;
  std::map<int64_t, Graph> graphs_;  ///< by batch size

  std::deque<std::shared_ptr<LmRequest>> waiting_;
  std::shared_ptr<DecodeGroup> newest_;  ///< the group of waiting's first, of whose samples some may run already
  int64_t next_sample_ = 0;              ///< of it
  std::vector<std::shared_ptr<DecodeRow>> rows_;  ///< by slot; null: free
  std::vector<int64_t> ended_;                    ///< slots that the host ended: the GPU does not know yet
  std::optional<Lot> last_;
  bool full_ = false;  ///< there is no memory for more pages
  int64_t tokens_ = 0, done_ = 0;
};

void DecodeEngine::wait() const {
  Event event;
  event.record();
  event.wait();
}

/// Pages that the waiting samples can use at once.
int64_t DecodeEngine::wanted_pages() const {
  int64_t all = 0, own = 0, prompt = 0, samples = 0;
  for (const auto& request : waiting_) {
    const int64_t pages = own_pages(*request), prompts = pages_for(prompt_length(*request));
    all += prompts + request->samples * pages, samples += request->samples;
    own = std::max(own, pages), prompt = std::max(prompt, prompts);
  }
  const int64_t rows = std::min(batch_size_, samples);
  return std::min(all, rows * own + std::min(rows, static_cast<int64_t>(waiting_.size())) * prompt);
}

/// Makes the cache larger, as far as there is memory; what it holds stays. Throws where `least` pages do not fit.
void DecodeEngine::grow_pool(int64_t wanted, int64_t least) {
  const int64_t total = pool_.total();
  bool refused = false;
  while (wanted > total && !full_) {
    try {
      Tensor larger = make_pages(decoder_, wanted);
      if (total > 0) larger.narrow(0, 0, total).copy_(pages_);
      pages_ = larger, full_ = refused;
      pool_.grow(wanted);
      return;
    } catch (const c10::OutOfMemoryError&) {
      refused = true, full_ = wanted <= std::max(least, total + 1);
      wanted = std::max(least, (total + wanted) / 2);
    }
  }
  if (pool_.total() < least)
    run_failed("sampler", "the device has no room for the keys and values of one sample, ",
               least * page_bytes(decoder_) >> 20, " MiB");
}

/// Memory for the requests that wait.
void DecodeEngine::make_room() {
  int64_t least = 0, width = 1;
  for (const auto& request : waiting_) {
    least = std::max(least, own_pages(*request) + pages_for(prompt_length(*request)));
    width = std::max(width, pages_for(prompt_length(*request) + request->options.max_new_tokens));
  }
  const int64_t wanted = pool_.total() - pool_.free() + wanted_pages();
  const bool wider = !slots_ || slots_->table.size(1)<width, more = wanted> pool_.total() && !full_;
  if (!wider && !more && pool_.total() >= least) return;
  wait();
  graphs_.clear();
  if (!slots_) {
    slots_.emplace(batch_size_, width, vocab(), device());
    rows_.assign(static_cast<size_t>(batch_size_), nullptr);
    fused_ = fused_forward(decoder_, std::min(bucket_of(batch_size_), kFusedTokens));
  } else if (wider) {
    slots_->widen(width);
  }
  grow_pool(std::max(wanted, least), least);
}

int64_t DecodeEngine::free_slot() const {
  for (size_t i = 0; i < rows_.size(); ++i)
    if (!rows_[i]) return static_cast<int64_t>(i);
  return -1;
}

/// Gives free slots to waiting samples, in their order, as far as there are pages.
std::vector<std::shared_ptr<DecodeRow>> DecodeEngine::admit() {
  std::vector<std::shared_ptr<DecodeRow>> out;
  while (!waiting_.empty()) {
    const std::shared_ptr<LmRequest>& request = waiting_.front();
    const int64_t slot = free_slot();
    if (slot < 0) break;
    const int64_t needed = own_pages(*request) + (newest_ ? 0 : pages_for(prompt_length(*request)));
    if (pool_.free() < needed) break;
    if (!newest_) newest_ = std::make_shared<DecodeGroup>(request, pool_);
    auto row = std::make_shared<DecodeRow>(next_sample_, newest_, pool_, tokenizer_);
    row->slot = slot, rows_[static_cast<size_t>(slot)] = row;
    out.push_back(std::move(row));
    if (++next_sample_ < request->samples) continue;
    waiting_.pop_front();
    newest_.reset(), next_sample_ = 0;
  }
  return out;
}

/// Computes the prompts of new samples and tells the GPU about them.
void DecodeEngine::start(const std::vector<std::shared_ptr<DecodeRow>>& rows) {
  std::vector<DecodeGroup*> groups;
  std::vector<DecodeRow*> plain;
  std::vector<SlotStart> starts;
  for (const auto& row : rows) {
    DecodeGroup* group = row->group.get();
    if (!group->logits.defined() && std::find(groups.begin(), groups.end(), group) == groups.end())
      groups.push_back(group);
    plain.push_back(row.get());
    const LmRequest& request = *group->request;
    starts.push_back({row->slot, slot_state(*row), static_cast<int>(request.prompt.back()),
                      static_cast<int>(prompt_length(request)) - 1, row->pages(), seen_bits(request, vocab())});
  }
  compute_prompts(*general_, pages_, slots_->table.size(1), groups);
  copy_open_pages(pages_, plain);
  slots_->start(starts);
  first_tokens(rows);
}

/// Samples of one prompt draw their first tokens from the same logits.
void DecodeEngine::first_tokens(const std::vector<std::shared_ptr<DecodeRow>>& rows) {
  if (rows.empty()) return;
  std::vector<Tensor> logits;
  std::vector<int> row_of, slot_of;
  const DecodeGroup* group = nullptr;
  for (const auto& row : rows) {
    if (row->group.get() != group) group = row->group.get(), logits.push_back(group->logits);
    row_of.push_back(static_cast<int>(logits.size()) - 1), slot_of.push_back(static_cast<int>(row->slot));
    row->asked = 1;
  }
  slots_->sample(at::cat(logits), static_cast<int64_t>(rows.size()), decoder_.config().logit_softcap,
                 uploaded(at::tensor(row_of, at::kInt), device()), uploaded(at::tensor(slot_of, at::kInt), device()));
  for (const auto& row : rows)
    if (row->number + 1 == row->group->request->samples) row->group->logits.reset();
}

/// Moves samples together where fewer slots would do.
void DecodeEngine::close_gaps() {
  std::vector<int64_t> order;
  for (const auto& row : rows_)
    if (row) order.push_back(row->slot);
  const auto live = static_cast<int64_t>(order.size());
  if (live == 0 || bucket_of(live) >= bucket_of(order.back() + 1)) return;
  slots_->reorder(order);
  std::vector<std::shared_ptr<DecodeRow>> moved(rows_.size());
  for (size_t i = 0; i < order.size(); ++i) {
    moved[i] = std::move(rows_[static_cast<size_t>(order[i])]);
    moved[i]->slot = static_cast<int64_t>(i);
  }
  rows_ = std::move(moved);
}

/// One token for each of the first `bucket` slots.
void DecodeEngine::decode(int64_t bucket) {
  const int64_t size = std::min(bucket, batch_size_);
  DecodeForward& forward = fused_ && size <= kFusedTokens ? *fused_ : *general_;
  auto work = [this, size, &forward] {
    const TokenBatch batch{
        slots_->token.narrow(0, 0, size),
        slots_->position.narrow(0, 0, size),
        {},
        slots_->table,
        true,
        kernels::attention_splits(static_cast<int>(slots_->table.size(1)) * kernels::kPagePositions)};
    slots_->sample(forward.logits(batch, pages_, {}), size, decoder_.config().logit_softcap);
  };
  if (!forward.capturable()) return work();
  Graph& graph = graphs_[bucket];
  if (!graph.captured()) slots_->idle_during([&] { graph.capture(work); });
  graph.replay();
}

/// Some steps of all samples, and the copy of what they make.
std::optional<DecodeEngine::Lot> DecodeEngine::enqueue(const std::vector<std::shared_ptr<DecodeRow>>& started) {
  int64_t steps = 0, used = 0;
  for (const auto& row : rows_) {
    if (!row) continue;
    steps = std::max(steps, std::min(kSteps, row->remaining()));
    if (row->remaining() > 0) used = row->slot + 1;
  }
  if (steps == 0 && started.empty()) return {};
  for (int64_t i = 0; i < steps; ++i) decode(bucket_of(used));
  std::vector<Lot::Part> parts;
  for (const auto& row : rows_) {
    if (!row) continue;
    const int64_t tokens = std::min(steps, row->remaining());
    const bool first = std::find(started.begin(), started.end(), row) != started.end();
    row->asked += tokens, used = std::max(used, row->slot + 1);
    if (tokens + first > 0) parts.push_back({row, row->slot, tokens + first});
  }
  return Lot{std::move(parts), slots_->copy(used)};
}

void DecodeEngine::accept(DecodeRow& row, const kernels::SampledEntry& entry) {
  row.growing.accept({entry.id, entry.logp, entry.entropy});
  ++tokens_;
  const LmRequest& request = *row.group->request;
  if (request.on_token && !request.on_token(row.number, row.growing.row(), row.growing.done())) row.growing.end();
}

/// Reads a lot's tokens; those behind a sample's end are dropped.
void DecodeEngine::take(const Lot& lot) {
  lot.copied.event.wait();
  if (*lot.copied.failed.const_data_ptr<int>()) run_failed("sampler", "logits must be finite; some are not");
  int64_t longest = 0;
  for (const Lot::Part& part : lot.parts) longest = std::max(longest, part.tokens);
  for (int64_t t = 0; t < longest; ++t)  // token by token, as the samples were made
    for (const Lot::Part& part : lot.parts)
      if (t < part.tokens && !part.row->growing.done()) accept(*part.row, lot.copied.at(part.slot, part.row->taken()));
  for (const Lot::Part& part : lot.parts) {
    if (!part.row->growing.done() || part.row->slot < 0) continue;
    ended_.push_back(part.row->slot);
    rows_[static_cast<size_t>(part.row->slot)].reset();
    part.row->slot = -1, ++done_;
  }
}

bool DecodeEngine::step() {
  const c10::InferenceMode inference;
  const bool idle = !last_ && std::all_of(rows_.begin(), rows_.end(), [](const auto& row) { return !row; });
  if (!waiting_.empty()) make_room();
  if (!slots_) return false;
  slots_->make_idle(ended_), ended_.clear();
  const auto started = admit();
  if (idle && started.empty() && !waiting_.empty())
    run_failed("sampler", "the device has no room for the keys and values of one sample");
  start(started);
  close_gaps();
  std::optional<Lot> next = enqueue(started);
  if (last_) take(*last_);
  last_ = std::move(next);
  return last_ || !waiting_.empty();
}

}  // namespace

std::unique_ptr<TokenEngine> decode_engine(const Decoder& decoder, const Tokenizer* tokenizer, int64_t batch_size) {
  const at::ScalarType type = decoder.weights().token_embedding.scalar_type();
  if (type != at::kFloat && type != at::kBFloat16)
    run_failed("sampler", "on a GPU weights must be float32 or bfloat16; got ", type);
  if (decoder.config().head_dim > 256)
    run_failed("sampler", "on a GPU heads have at most 256 numbers; got ", decoder.config().head_dim);
  return std::make_unique<DecodeEngine>(decoder, tokenizer, batch_size);
}

}  // namespace rft::cuda
