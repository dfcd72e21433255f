// How dataset rows become an encoder's and a decoder's tokens.
#include <ATen/ATen.h>

#include <algorithm>

#include "policy/chat_rows.h"
#include "policy/row_length.h"
#include "policy/token_rows.h"
#include "rft/core/error.h"
#include "rft/core/extra.h"
#include "rft/io/rows.h"
#include "rft/policy/lm_sampler.h"
#include "rft/policy/seq2seq_lm.h"

namespace rft {

/// Adds eos, unless it is there.
void Seq2SeqLm::end(std::vector<int64_t>& ids) const {
  const bool ended = !ids.empty() && std::find(eos_ids_.begin(), eos_ids_.end(), ids.back()) != eos_ids_.end();
  if (!ended && !eos_ids_.empty()) ids.push_back(eos_ids_.front());
}

Seq2SeqLm::TokenRow Seq2SeqLm::prompt_row(const Rows& rows, int64_t i) const {
  TokenRow row;
  if (rows.has(i, "input_ids")) {
    row.prompt = rows.ints(i, "input_ids");
  } else {
    if (asks_by_messages(rows, i))
      bad_input(rows.where(i), "an encoder-decoder model's rows hold a text `prompt` or `input_ids`; got messages");
    row.prompt = tokenizer_.encode(rows.string(i, "prompt"));
    end(row.prompt);
  }
  if (row.prompt.empty()) bad_input(rows.where(i), "the prompt has no tokens; the encoder needs at least one");
  const int64_t vocabulary = model_->head().size(0);
  for (int64_t id : row.prompt)
    if (id < 0 || id >= vocabulary)
      bad_input(rows.where(i), "input_ids must be in 0 .. ", vocabulary - 1, "; got ", id);
  return row;
}

Seq2SeqLm::TokenRow Seq2SeqLm::uncut_row(const Rows& rows, int64_t i, bool append_eos,
                                         const std::string& column) const {
  TokenRow row = prompt_row(rows, i);
  if (column.empty()) return row;
  if (rows.has(i, "input_ids")) {
    const int64_t length = rows.integer(i, "prompt_length"), size = static_cast<int64_t>(row.prompt.size());
    if (length < 1 || length >= size)
      bad_input(rows.where(i), "prompt_length must be in 1 .. ", size - 1, "; got ", length);
    row.completion.assign(row.prompt.begin() + length, row.prompt.end());
    row.prompt.resize(static_cast<size_t>(length));
    return row;
  }
  if (answers_by_messages(rows, i, column))
    bad_input(rows.where(i), "an encoder-decoder model's `", column, "` is a text; got messages");
  row.completion = tokenizer_.encode(rows.string(i, column));
  if (append_eos) end(row.completion);
  return row;
}

int64_t Seq2SeqLm::longest() const {
  return std::min(options_.max_length.value_or(model_->max_positions()), model_->max_positions());
}

Fit Seq2SeqLm::shorten(TokenRow& row) const {
  return shorten_apart(row, longest(), options_.too_long,
                       [this](int64_t id) { return id < tokenizer_.size() && tokenizer_.is_special(id); });
}

/// As usable() made it, or made now. `column` "" stands for the prompt alone.
Seq2SeqLm::TokenRow Seq2SeqLm::fitted_row(const Rows& rows, int64_t i, bool append_eos,
                                          const std::string& column) const {
  if (auto fitted = fitted_.extract({rows.where(i), column})) return std::move(fitted.mapped());
  TokenRow row = uncut_row(rows, i, append_eos, column);
  if (shorten(row) != Fit::too_long) return row;
  bad_input(rows.where(i), "prompt and completion have ", row.prompt.size(), " and ", row.completion.size(),
            " tokens; ", longest() == options_.max_length ? "policy.max_length is " : "the model takes at most ",
            longest(), " of each (policy.too_long: drop, keep_start or keep_end says what to do with such rows)");
}

Seq2SeqLm::TokenRow Seq2SeqLm::completion_row(const Rows& rows, int64_t i, bool append_eos,
                                              const std::string& column) const {
  return fitted_row(rows, i, append_eos, column);
}

Rows Seq2SeqLm::usable(const Rows& rows, const Needs& needs) const {
  if (options_.too_long == "error") return rows;
  return rows_that_fit(rows, answer_columns(needs), longest(), [&](int64_t i, const std::string& column) {
    TokenRow row = uncut_row(rows, i, true, column);
    const Fit fit = shorten(row);
    if (fit != Fit::too_long) fitted_[{rows.where(i), column}] = std::move(row);
    return fit;
  });
}

void Seq2SeqLm::add_texts(Experience& batch, const Rows& rows) const {
  const Fields columns = rows.columns();
  for (const auto& [name, column] : columns.texts())
    if (name != "input_ids") batch.context.set_text(name, column);
  if (batch.context.has_text(extra::prompt)) return;
  std::vector<std::string> prompts;
  for (const auto& ids : prompts_of(batch)) prompts.push_back(sampled_text(tokenizer_, ids));
  batch.context.set_text(extra::prompt, std::move(prompts));
}

RowReader Seq2SeqLm::reader(const Rows& rows) const {
  return {[this, &rows](int64_t i, const std::string& column) { return completion_row(rows, i, true, column); },
          [this, &rows](Experience& batch) { add_texts(batch, rows); }};
}

Experience Seq2SeqLm::contexts(const Rows& rows) const {
  std::vector<TokenRow> encoded;
  for (int64_t i = 0; i < rows.size(); ++i) encoded.push_back(fitted_row(rows, i, false, ""));
  Experience out;
  out.context = CausalLm::pack(encoded).context;
  add_texts(out, rows);
  return out;
}

Experience Seq2SeqLm::demonstrations(const Rows& rows) {
  const RowReader read = reader(rows);
  std::vector<TokenRow> encoded;
  for (int64_t i = 0; i < rows.size(); ++i) encoded.push_back(read.completion(i, "completion"));
  return demonstrations_of(rows, encoded, read);
}

Tensor Seq2SeqLm::row_tokens(const Experience& batch) const { return tokens_of_rows(batch); }

Experience Seq2SeqLm::pairs(const Rows& rows) const { return pairs_of(rows, reader(rows)); }

}  // namespace rft
