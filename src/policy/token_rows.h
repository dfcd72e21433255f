#pragma once
/// What the policies that write texts have in common: rows of tokens in and out of an Experience.
#include <functional>
#include <string>
#include <vector>

#include "rft/io/rows.h"
#include "rft/policy/causal_lm.h"
#include "rft/policy/lm_sampler.h"

namespace rft {

/// The prompts of `contexts`, without their padding.
std::vector<std::vector<int64_t>> prompts_of(const Experience& contexts);
/// [B]: tokens of each row's prompt and of its completion up to the last decision.
Tensor tokens_of_rows(const Experience& batch);
/// What was sampled, group_size rows a context, with logp, extra::truncated and extra::completion.
Experience rollout_of(const Experience& contexts, int64_t group_size, const std::vector<SampledRow>& sampled,
                      const Tokenizer& tokenizer);

/// How a policy makes tokens of row i, whose answer is in `column`, and adds the rows' texts to a batch of them.
struct RowReader {
  std::function<CausalLm::TokenRow(int64_t i, const std::string& column)> completion;
  std::function<void(Experience& batch)> add_texts;
};
/// `encoded`, a row each of `rows`, to be imitated.
Experience demonstrations_of(const Rows& rows, const std::vector<CausalLm::TokenRow>& encoded, const RowReader& read);
/// 2B rows: all that were chosen, then all that were rejected. Throws UserError with file:line on rows of input_ids.
Experience pairs_of(const Rows& rows, const RowReader& read);

}  // namespace rft
