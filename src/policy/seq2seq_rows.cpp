// How dataset rows become an encoder's and a decoder's tokens.
#include <ATen/ATen.h>

#include <algorithm>

#include "policy/chat_rows.h"
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

Seq2SeqLm::TokenRow Seq2SeqLm::completion_row(const Rows& rows, int64_t i, bool append_eos,
                                              const std::string& column) const {
  TokenRow row = prompt_row(rows, i);
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
  row.completion = tokenizer_.encode(rows.string(i, column), false);
  if (append_eos) end(row.completion);
  return row;
}

void Seq2SeqLm::add_texts(Experience& batch, const Rows& rows) const {
  const Fields columns = rows.columns();
  for (const auto& [name, column] : columns.texts())
    if (name != "input_ids") batch.context.set_text(name, column);
  if (batch.context.has_text(extra::prompt)) return;
  std::vector<std::string> prompts;
  for (int64_t i = 0; i < rows.size(); ++i) prompts.push_back(sampled_text(tokenizer_, prompt_row(rows, i).prompt));
  batch.context.set_text(extra::prompt, std::move(prompts));
}

RowReader Seq2SeqLm::reader(const Rows& rows) const {
  return {[this, &rows](int64_t i, const std::string& column) { return completion_row(rows, i, true, column); },
          [this, &rows](Experience& batch) { add_texts(batch, rows); }};
}

Experience Seq2SeqLm::contexts(const Rows& rows) const {
  std::vector<TokenRow> encoded;
  for (int64_t i = 0; i < rows.size(); ++i) encoded.push_back(prompt_row(rows, i));
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

Experience Seq2SeqLm::pairs(const Rows& rows) const { return pairs_of(rows, reader(rows)); }

}  // namespace rft
