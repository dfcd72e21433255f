#include "rft/policy/seq2seq_sampler.h"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <c10/core/InferenceMode.h>

#include <algorithm>

#include "policy/growing_row.h"
#include "rft/core/error.h"
#include "rft/ops/linear.h"

namespace rft {
namespace {

/// As many rows as 2 GiB of keys and values hold, at most 64.
int64_t default_rows(const Seq2Seq& model, int64_t max_new_tokens) {
  return std::clamp<int64_t>((int64_t{2} << 30) / (max_new_tokens * model.cache_floats() * 4), 1, 64);
}

void check(const Seq2Seq& model, const Tokenizer* tokenizer, const std::vector<std::vector<int64_t>>& prompts,
           const SamplerOptions& options) {
  if (options.max_new_tokens < 1)
    bad_input("sampler", "max_new_tokens must be at least 1; got ", options.max_new_tokens);
  if (!options.stop.empty() && !tokenizer) run_failed("sampler", "stop texts need a tokenizer");
  for (const std::string& stop : options.stop)
    if (stop.empty()) bad_input("sampler", "a stop text must not be empty");
  const int64_t vocab = model.head().size(0), most = model.max_positions();
  if (options.max_new_tokens > most)
    bad_input("sampler", "max_new_tokens ", options.max_new_tokens, " exceeds the model's ", most, " positions");
  for (size_t i = 0; i < prompts.size(); ++i) {
    if (prompts[i].empty()) bad_input(cat("prompt ", i), "the prompt has no tokens; the encoder needs at least one");
    if (static_cast<int64_t>(prompts[i].size()) > most)
      bad_input(cat("prompt ", i), "the prompt has ", prompts[i].size(), " tokens; the model takes at most ", most);
    for (int64_t id : prompts[i])
      if (id < 0 || id >= vocab) bad_input(cat("prompt ", i), "token ids must be in 0 .. ", vocab - 1, "; got ", id);
  }
}

Packed packed(const std::vector<std::vector<int64_t>>& rows, size_t first, size_t last) {
  std::vector<int64_t> ids;
  Packed out;
  for (size_t i = first; i < last; ++i) {
    ids.insert(ids.end(), rows[i].begin(), rows[i].end());
    out.lengths.push_back(static_cast<int64_t>(rows[i].size()));
  }
  out.ids = at::tensor(ids, at::kLong);
  return out;
}

class Sampler {
 public:
  Sampler(const Seq2Seq& model, const Tokenizer* tokenizer, uint64_t seed, bool greedy, const SamplerOptions& options,
          const SamplerProgress& progress, std::optional<int64_t> first_id, std::vector<SampledRow>& out)
      : model_(model),
        tokenizer_(tokenizer),
        seed_(seed),
        sampling_(token_sampling(options, greedy)),
        options_(options),
        progress_(progress),
        first_id_(first_id),
        out_(out) {}

  /// Rows first, first + 1, ... of the whole; `samples` of them answer each prompt that `memory` holds.
  void run(const Seq2Seq::Memory& memory, const std::vector<int64_t>& samples, int64_t first, int64_t count) {
    auto decoding = model_.decode(memory, samples);
    std::vector<GrowingRow> rows;
    for (int64_t i = first; i < first + count; ++i)
      rows.emplace_back(options_, tokenizer_, std::vector<int64_t>{model_.start_id()}, seed_, i,
                        out_[static_cast<size_t>(i)]);
    while (true) {
      step(*decoding, rows);
      if (!leave(*decoding, rows)) return;
    }
  }

 private:
  /// A token of every row; those that are done and still in the batch get none.
  void step(Seq2SeqDecoding& decoding, std::vector<GrowingRow>& rows) {
    std::vector<int64_t> latest;
    for (const GrowingRow& row : rows)
      latest.push_back(row.row().ids.empty() ? model_.start_id() : row.row().ids.back());
    const Tensor states = decoding.step(at::tensor(latest, at::kLong));
    if (first_id_ && rows.front().row().ids.empty()) {  // all rows are at their beginning
      for (GrowingRow& row : rows) row.accept({*first_id_}), ++tokens_, done_ += row.done();
      return;
    }
    const Tensor logits = ops::linear(states, model_.head()).to(at::kFloat).contiguous();
    const int64_t vocab = logits.size(1);
    std::vector<ops::SampledToken> drawn(rows.size());
    const int64_t grain = std::max<int64_t>(1, (int64_t{1} << 15) / (vocab + 4096));
    at::parallel_for(0, static_cast<int64_t>(rows.size()), grain, [&](int64_t begin, int64_t end) {
      for (auto i = static_cast<size_t>(begin); i < static_cast<size_t>(end); ++i)
        if (!rows[i].done())
          drawn[i] = rows[i].draw(logits.const_data_ptr<float>() + static_cast<int64_t>(i) * vocab, vocab, sampling_);
    });
    for (size_t i = 0; i < rows.size(); ++i) {
      if (rows[i].done()) continue;
      rows[i].accept(drawn[i]);
      ++tokens_, done_ += rows[i].done();
    }
    if (progress_) progress_(done_, tokens_);
  }

  /// Takes rows that are done out of the batch once they are half of it: leaving copies the others' keys and values.
  /// False where none is left.
  static bool leave(Seq2SeqDecoding& decoding, std::vector<GrowingRow>& rows) {
    std::vector<int64_t> kept;
    for (size_t i = 0; i < rows.size(); ++i)
      if (!rows[i].done()) kept.push_back(static_cast<int64_t>(i));
    if (kept.empty()) return false;
    if (2 * kept.size() > rows.size()) return true;
    decoding.keep(kept);
    std::erase_if(rows, [](const GrowingRow& row) { return row.done(); });
    return true;
  }

  const Seq2Seq& model_;
  const Tokenizer* tokenizer_;
  uint64_t seed_;
  ops::TokenSampling sampling_;
  const SamplerOptions& options_;
  const SamplerProgress& progress_;
  std::optional<int64_t> first_id_;
  std::vector<SampledRow>& out_;
  int64_t tokens_ = 0, done_ = 0;
};

}  // namespace

std::vector<SampledRow> sample_rows(const Seq2Seq& model, const Tokenizer* tokenizer,
                                    const std::vector<std::vector<int64_t>>& prompts, int64_t group_size, uint64_t seed,
                                    bool greedy, const SamplerOptions& options, const SamplerProgress& progress,
                                    std::optional<int64_t> first_id) {
  check(model, tokenizer, prompts, options);
  const c10::InferenceMode inference;
  const auto P = static_cast<int64_t>(prompts.size());
  const int64_t rows = options.batch_size > 0 ? options.batch_size : default_rows(model, options.max_new_tokens);
  std::vector<SampledRow> out(static_cast<size_t>(P * group_size));
  Sampler sampler(model, tokenizer, seed, greedy, options, progress, first_id, out);
  const int64_t together = std::max<int64_t>(1, rows / group_size);  // prompts
  for (int64_t first = 0; first < P; first += together) {
    const int64_t last = std::min(first + together, P);
    const auto memory = model.read(packed(prompts, static_cast<size_t>(first), static_cast<size_t>(last)));
    if (group_size <= rows) {
      sampler.run(memory, std::vector<int64_t>(static_cast<size_t>(last - first), group_size), first * group_size,
                  (last - first) * group_size);
      continue;
    }
    for (int64_t k = 0; k < group_size; k += rows) {
      const int64_t count = std::min(rows, group_size - k);
      sampler.run(memory, {count}, first * group_size + k, count);
    }
  }
  return out;
}

}  // namespace rft
