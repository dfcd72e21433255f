// How dataset rows become a language model's tokens.
#include <ATen/ATen.h>

#include <algorithm>
#include <optional>

#include "policy/chat_rows.h"
#include "policy/row_length.h"
#include "policy/token_rows.h"
#include "rft/core/error.h"
#include "rft/core/extra.h"
#include "rft/core/log.h"
#include "rft/io/rows.h"
#include "rft/policy/causal_lm.h"

namespace rft {

const ChatTemplate& CausalLm::chat() const {
  if (!chat_) chat_ = std::make_unique<ChatTemplate>(ChatTemplate::load(options_.path));
  return *chat_;
}

void CausalLm::check_prompt(const std::vector<int64_t>& ids, const std::string& where) const {
  if (ids.empty()) bad_input(where, "the prompt has no tokens; the model needs at least one to go on from");
  for (int64_t id : ids)
    if (id < 0 || id >= decoder_->config().vocab_size)
      bad_input(where, "input_ids must be in 0 .. ", decoder_->config().vocab_size - 1, "; got ", id);
}

CausalLm::TokenRow CausalLm::prompt_row(const Rows& rows, int64_t i) const {
  TokenRow row;
  if (rows.has(i, "input_ids"))
    row.prompt = rows.ints(i, "input_ids");
  else if (asks_by_messages(rows, i))
    row.prompt = tokenizer_.encode(asked_text(rows, i, chat(), false), false);
  else
    row.prompt = tokenizer_.encode(rows.string(i, "prompt"));
  check_prompt(row.prompt, rows.where(i));
  return row;
}

/// A conversation's answer is what its ids have beyond those of the question: ids are never joined from two texts.
CausalLm::TokenRow CausalLm::conversation_row(const Rows& rows, int64_t i, const std::string& column) const {
  bool answered = column.empty();
  TokenRow row;
  row.prompt = tokenizer_.encode(asked_text(rows, i, chat(), answered), false);
  check_prompt(row.prompt, rows.where(i));
  auto whole = tokenizer_.encode(whole_text(rows, i, chat(), column), false);
  if (whole.size() <= row.prompt.size() || !std::equal(row.prompt.begin(), row.prompt.end(), whole.begin()))
    bad_input(
        rows.where(i),
        "the chat template writes the conversation with its answer otherwise than the question alone, so that the "
        "answer's tokens can't be told apart; write the rendered texts as `prompt` and `completion`");
  row.completion.assign(whole.begin() + static_cast<int64_t>(row.prompt.size()), whole.end());
  return row;
}

/// Every answer of a conversation is what its ids have beyond those of what was said before; what follows the last
/// marked one is left out.
CausalLm::TokenRow CausalLm::every_turn_row(const Rows& rows, int64_t i) const {
  bool marked = options_.assistant_turns == "marked";
  auto turns = marked ? marked_turns_of(rows, i, chat()) : turns_of(rows, i, chat());
  auto whole = tokenizer_.encode(whole_text(rows, i, chat(), ""), false);
  TokenRow row;
  std::optional<size_t> kept;
  for (const auto& [before, after] : turns) {
    auto start = tokenizer_.encode(before, false), end = tokenizer_.encode(after, false);
    auto begins = [&](const std::vector<int64_t>& part) {
      return part.size() <= whole.size() && std::equal(part.begin(), part.end(), whole.begin());
    };
    if (!begins(start) || !begins(end) || end.size() <= start.size())
      bad_input(rows.where(i),
                marked ? "what the chat template marks with {% generation %} begins or ends inside a token"
                       : "the chat template writes earlier turns otherwise once others follow, so that their tokens "
                         "can't be told apart",
                "; learn the last one (policy.assistant_turns: last)");
    if (row.prompt.empty()) {
      row.prompt = start;
      row.completion.assign(whole.begin() + static_cast<int64_t>(start.size()), whole.end());
      row.learned.assign(row.completion.size(), false);
    }
    for (size_t t = start.size(); t < end.size(); ++t) row.learned[t - row.prompt.size()] = true;
    if (marked) kept = end.size() - row.prompt.size();
  }
  row.completion.resize(kept.value_or(row.completion.size()));
  row.learned.resize(row.completion.size());
  check_prompt(row.prompt, rows.where(i));
  return row;
}

CausalLm::TokenRow CausalLm::uncut_row(const Rows& rows, int64_t i, bool append_eos, const std::string& column) const {
  TokenRow row;
  bool messages = asks_by_messages(rows, i);
  if (messages && !rows.has(i, column)) {
    if (column != "completion") bad_input(rows.where(i), "a column `", column, "` is needed beside the messages");
    row = options_.assistant_turns == "last" ? conversation_row(rows, i, "") : every_turn_row(rows, i);
  } else if (messages && answers_by_messages(rows, i, column)) {
    row = conversation_row(rows, i, column);
  } else {
    row = prompt_row(rows, i);
    split_or_encode(rows, i, append_eos, column, row);
  }
  return row;
}

CausalLm::TokenRow CausalLm::completion_row(const Rows& rows, int64_t i, bool append_eos,
                                            const std::string& column) const {
  if (auto fitted = fitted_.extract({rows.where(i), column})) return std::move(fitted.mapped());
  TokenRow row = uncut_row(rows, i, append_eos, column);
  if (shorten(row, longest_row(), options_.too_long) != Fit::too_long) return row;
  bad_input(rows.where(i), "prompt and completion have ", row.prompt.size() + row.completion.size(), " tokens; ",
            longest_row() == options_.max_length ? "policy.max_length is " : "the model takes at most ", longest_row(),
            " (policy.too_long: drop, keep_start or keep_end says what to do with such rows)");
}

int64_t CausalLm::longest_row() const {
  const int64_t most = decoder_->config().max_positions;
  return std::min(options_.max_length.value_or(most), most);
}

int64_t CausalLm::longest_prompt() const {
  return std::min(longest_row(), decoder_->config().max_positions - rollout_.max_new_tokens);
}

Rows CausalLm::usable(const Rows& rows, const Needs& needs) const {
  if (options_.too_long == "error") return rows;
  const auto columns = answer_columns(needs);
  const int64_t limit = columns[0].empty() ? longest_prompt() : longest_row();
  return rows_that_fit(rows, columns, limit, [&](int64_t i, const std::string& column) {
    TokenRow row = column.empty() ? prompt_row(rows, i) : uncut_row(rows, i, true, column);
    const Fit fit = shorten(row, limit, options_.too_long);
    if (fit != Fit::too_long) fitted_[{rows.where(i), column}] = std::move(row);
    return fit;
  });
}

void CausalLm::split_or_encode(const Rows& rows, int64_t i, bool append_eos, const std::string& column,
                               TokenRow& row) const {
  if (rows.has(i, "input_ids")) {
    int64_t length = rows.integer(i, "prompt_length"), size = static_cast<int64_t>(row.prompt.size());
    if (length < 1 || length >= size)
      bad_input(rows.where(i), "prompt_length must be in 1 .. ", size - 1, "; got ", length);
    row.completion.assign(row.prompt.begin() + length, row.prompt.end());
    row.prompt.resize(static_cast<size_t>(length));
    return;
  }
  row.completion = tokenizer_.encode(rows.string(i, column), false);
  // A step of an answer (Step-DPO) is learned as one: what follows it is not the end.
  std::string goes_on = rows.has(i, "continues") ? rows.text(i, "continues") : "false";
  if (goes_on != "true" && goes_on != "false")
    bad_input(rows.where(i), "`continues`, whether the answer goes on after this text, must be true or false; got ",
              goes_on);
  if (goes_on == "true") return;
  bool ended =
      !row.completion.empty() && std::find(eos_ids_.begin(), eos_ids_.end(), row.completion.back()) != eos_ids_.end();
  if (append_eos && !ended && !eos_ids_.empty()) row.completion.push_back(eos_ids_.front());
}

Experience CausalLm::pack(const std::vector<TokenRow>& rows) {
  int64_t B = static_cast<int64_t>(rows.size()), P = 1, T = 1;
  for (const auto& row : rows)
    P = std::max(P, int64_t(row.prompt.size())), T = std::max(T, int64_t(row.completion.size()));
  auto prompt = at::zeros({B, P}, at::kLong), length = at::zeros({B}, at::kLong);
  Experience out;
  out.action = at::zeros({B, T}, at::kLong);
  out.mask = at::zeros({B, T}, at::kBool);
  for (int64_t b = 0; b < B; ++b) {
    std::copy(rows[b].prompt.begin(), rows[b].prompt.end(), prompt.data_ptr<int64_t>() + b * P);
    std::copy(rows[b].completion.begin(), rows[b].completion.end(), out.action.data_ptr<int64_t>() + b * T);
    if (rows[b].learned.empty())
      std::fill_n(out.mask.data_ptr<bool>() + b * T, rows[b].completion.size(), true);
    else
      std::copy(rows[b].learned.begin(), rows[b].learned.end(), out.mask.data_ptr<bool>() + b * T);
    length.data_ptr<int64_t>()[b] = static_cast<int64_t>(rows[b].prompt.size());
  }
  out.context.set("prompt_ids", prompt);
  out.context.set("prompt_length", length);
  return out;
}

void CausalLm::add_texts(Experience& batch, const Rows& rows) const {
  const Fields columns = rows.columns();
  for (const auto& [name, column] : columns.texts())
    if (name != "input_ids") batch.context.set_text(name, column);
  if (batch.context.has_text(extra::prompt)) return;
  std::vector<std::string> prompts;
  for (const auto& ids : prompts_of(batch)) prompts.push_back(tokenizer_.decode(ids));
  batch.context.set_text(extra::prompt, std::move(prompts));
}

RowReader CausalLm::reader(const Rows& rows) const {
  return {[this, &rows](int64_t i, const std::string& column) { return completion_row(rows, i, true, column); },
          [this, &rows](Experience& batch) { add_texts(batch, rows); }};
}

Experience CausalLm::contexts(const Rows& rows) const {
  std::vector<TokenRow> encoded;
  for (int64_t i = 0; i < rows.size(); ++i) {
    if (auto fitted = fitted_.extract({rows.where(i), ""})) {
      encoded.push_back(std::move(fitted.mapped()));
      continue;
    }
    encoded.push_back(prompt_row(rows, i));
    const TokenRow& row = encoded.back();
    if (shorten(encoded.back(), longest_prompt(), options_.too_long) != Fit::too_long) continue;
    if (longest_prompt() == options_.max_length)
      bad_input(rows.where(i), "the prompt has ", row.prompt.size(), " tokens; policy.max_length is ", longest_prompt(),
                " (policy.too_long: drop, keep_start or keep_end says what to do with such rows)");
    bad_input(rows.where(i), "the prompt's ", row.prompt.size(), " tokens and rollout.max_new_tokens ",
              rollout_.max_new_tokens, " exceed the model's ", decoder_->config().max_positions, " positions");
  }
  Experience out;
  out.context = pack(encoded).context;
  add_texts(out, rows);
  return out;
}

/// What the first row teaches, for people to see that it is what they meant.
void CausalLm::show_learned(const TokenRow& row, const std::string& where) const {
  std::string text = tokenizer_.decode(row.prompt);
  for (size_t begin = 0; begin < row.completion.size();) {
    bool learned = row.learned.empty() || row.learned[begin];
    size_t end = begin;
    while (end < row.completion.size() && (row.learned.empty() || row.learned[end] == learned)) ++end;
    std::string part = tokenizer_.decode(
        {row.completion.begin() + static_cast<int64_t>(begin), row.completion.begin() + static_cast<int64_t>(end)});
    text += learned ? "[[" + part + "]]" : part;
    begin = end;
  }
  log::info(cat(where, ", learned where in [[ ]]: ", text));
}

Experience CausalLm::demonstrations(const Rows& rows) {
  const RowReader read = reader(rows);
  std::vector<TokenRow> encoded;
  for (int64_t i = 0; i < rows.size(); ++i) encoded.push_back(read.completion(i, "completion"));
  if (!encoded.empty()) show_learned(encoded[0], rows.where(0));
  return demonstrations_of(rows, encoded, read);
}

Tensor CausalLm::row_tokens(const Experience& batch) const { return tokens_of_rows(batch); }

Experience CausalLm::pairs(const Rows& rows) const { return pairs_of(rows, reader(rows)); }

}  // namespace rft
