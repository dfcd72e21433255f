#include "rft/policy/lm_sampler.h"

#include <algorithm>
#include <list>

#include "rft/core/error.h"
#include "rft/policy/lm_engine.h"

namespace rft {
namespace {

using LmRequests = std::vector<std::shared_ptr<LmRequest>>;

LmRequests requests_of(const Decoder& decoder, const Tokenizer* tokenizer,
                       const std::vector<std::vector<int64_t>>& prompts, int64_t group_size, uint64_t seed, bool greedy,
                       const SamplerOptions& options) {
  if ((!options.stop.empty() || options.pattern) && !tokenizer)
    run_failed("sampler", "stop texts and patterns need a tokenizer");
  LmRequests requests;
  for (size_t i = 0; i < prompts.size(); ++i) {
    auto request = std::make_shared<LmRequest>(LmRequest{prompts[i], group_size, options, seed, greedy, {}});
    request->options.first_row += static_cast<int64_t>(i) * group_size;
    check_request(*request, decoder.config(), cat("prompt ", i));
    requests.push_back(std::move(request));
  }
  return requests;
}

/// A piece in the making.
struct BegunPiece {
  Piece piece;
  int64_t unfinished = 0;  ///< rows
};

/// The rows of a piece's requests, which give them away.
std::vector<SampledRow> rows_of(const LmRequests& requests, const Piece& piece) {
  std::vector<SampledRow> rows;
  for (int64_t i = piece.first; i < piece.first + piece.count; ++i)
    for (SampledRow& row : requests[static_cast<size_t>(i)]->rows) rows.push_back(std::move(row));
  return rows;
}

}  // namespace

std::string sampled_text(const Tokenizer& tokenizer, const std::vector<int64_t>& ids) {
  std::vector<int64_t> known;
  for (int64_t id : ids)
    if (id < tokenizer.size()) known.push_back(id);
  return tokenizer.decode(known, true);
}

void sample_row_pieces(const Decoder& decoder, const Tokenizer* tokenizer,
                       const std::vector<std::vector<int64_t>>& prompts, int64_t group_size, uint64_t seed, bool greedy,
                       const SamplerOptions& options, const RowWork& work, const SamplerProgress& progress) {
  const LmRequests requests = requests_of(decoder, tokenizer, prompts, group_size, seed, greedy, options);
  const int64_t batch_size =
      options.batch_size > 0 ? options.batch_size : default_batch_size(decoder, options.max_new_tokens);
  const int64_t at_once = work.rows_at_once > 0 ? work.rows_at_once : batch_size;
  LmEngine engine(decoder, tokenizer, batch_size, options.guide);
  std::list<BegunPiece> begun;
  bool open = true;
  int64_t rows = 0;  // of all pieces so far
  auto begin = [&](const Piece& piece) {
    BegunPiece& mine = begun.emplace_back(BegunPiece{piece, piece.count * group_size});
    for (int64_t i = piece.first; i < piece.first + piece.count; ++i) {
      const auto& request = requests.at(static_cast<size_t>(i));
      request->on_token = [&mine](int64_t, const SampledRow&, bool done) {
        mine.unfinished -= done;
        return true;
      };
      engine.add(request);
    }
    rows += mine.unfinished;
  };
  for (bool busy = true; busy || open;) {
    while (open && rows - engine.samples_done() < at_once) {
      auto piece = work.next();
      open = piece.has_value();
      if (piece) begin(*piece);
    }
    busy = engine.step();
    for (auto at = begun.begin(); at != begun.end();) {
      if (at->unfinished > 0) {
        ++at;
        continue;
      }
      work.finished(at->piece, rows_of(requests, at->piece));
      at = begun.erase(at);
    }
    if (progress && busy) progress(engine.samples_done(), engine.tokens_sampled());
  }
}

std::vector<SampledRow> sample_rows(const Decoder& decoder, const Tokenizer* tokenizer,
                                    const std::vector<std::vector<int64_t>>& prompts, int64_t group_size, uint64_t seed,
                                    bool greedy, const SamplerOptions& options, const SamplerProgress& progress) {
  std::vector<SampledRow> all;
  bool asked = prompts.empty();
  RowWork whole;
  whole.next = [&]() -> std::optional<Piece> {
    if (std::exchange(asked, true)) return {};
    return Piece{0, static_cast<int64_t>(prompts.size())};
  };
  whole.finished = [&](const Piece&, std::vector<SampledRow> rows) { all = std::move(rows); };
  sample_row_pieces(decoder, tokenizer, prompts, group_size, seed, greedy, options, whole, progress);
  return all;
}

}  // namespace rft
