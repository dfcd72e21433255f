#include "policy/token_rows.h"

#include <ATen/ATen.h>

#include <algorithm>

#include "rft/core/error.h"
#include "rft/core/extra.h"

namespace rft {

std::vector<std::vector<int64_t>> prompts_of(const Experience& contexts) {
  const Tensor ids = contexts.context.tensor("prompt_ids").contiguous(),
               lengths = contexts.context.tensor("prompt_length").contiguous();
  std::vector<std::vector<int64_t>> out;
  for (int64_t i = 0; i < ids.size(0); ++i) {
    const int64_t* begin = ids.const_data_ptr<int64_t>() + i * ids.size(1);
    out.emplace_back(begin, begin + lengths.const_data_ptr<int64_t>()[i]);
  }
  return out;
}

Tensor tokens_of_rows(const Experience& batch) {
  const Tensor number = at::arange(1, batch.mask.size(1) + 1, at::kLong);
  return batch.mask.to(at::kLong).mul(number).amax(1).add(batch.context.tensor("prompt_length"));
}

Experience rollout_of(const Experience& contexts, int64_t group_size, const std::vector<SampledRow>& sampled,
                      const Tokenizer& tokenizer) {
  const auto B = static_cast<int64_t>(sampled.size());
  int64_t T = 1;
  for (const SampledRow& row : sampled) T = std::max(T, static_cast<int64_t>(row.ids.size()));
  Experience out;
  out.action = at::zeros({B, T}, at::kLong), out.mask = at::zeros({B, T}, at::kBool);
  out.logp = at::zeros({B, T}, at::kFloat);
  Tensor truncated = at::zeros({B}, at::kBool);
  std::vector<std::string> completions;
  for (int64_t b = 0; b < B; ++b) {
    const SampledRow& row = sampled[static_cast<size_t>(b)];
    std::copy(row.ids.begin(), row.ids.end(), out.action.data_ptr<int64_t>() + b * T);
    std::copy(row.logp.begin(), row.logp.end(), out.logp.data_ptr<float>() + b * T);
    std::fill_n(out.mask.data_ptr<bool>() + b * T, row.ids.size(), true);
    truncated.data_ptr<bool>()[b] = row.truncated;
    completions.push_back(sampled_text(tokenizer, row.ids));
  }
  out.group = at::arange(B / group_size, at::kLong).repeat_interleave(group_size);
  out.context = contexts.context.select(out.group);
  out.extra.set(extra::truncated, truncated);
  out.context.set_text(extra::completion, std::move(completions));
  return out;
}

Experience demonstrations_of(const Rows& rows, const std::vector<CausalLm::TokenRow>& encoded, const RowReader& read) {
  Experience out = CausalLm::pack(encoded);
  read.add_texts(out);
  out.group = at::arange(rows.size(), at::kLong);
  return out;
}

Experience pairs_of(const Rows& rows, const RowReader& read) {
  std::vector<CausalLm::TokenRow> encoded;
  for (int64_t i = 0; i < rows.size(); ++i)
    if (rows.has(i, "input_ids"))
      bad_input(rows.where(i), "a pair's `prompt`, `chosen` and `rejected` are texts; got `input_ids`");
  for (const char* column : {"chosen", "rejected"})
    for (int64_t i = 0; i < rows.size(); ++i) encoded.push_back(read.completion(i, column));
  Experience out = CausalLm::pack(encoded), texts;
  texts.context = out.context.select(at::arange(rows.size(), at::kLong));
  read.add_texts(texts);
  out.group = at::arange(rows.size(), at::kLong).repeat({2});
  const Fields twice = texts.context.select(out.group);
  for (const auto& [name, column] : twice.texts()) out.context.set_text(name, column);
  return out;
}

}  // namespace rft
