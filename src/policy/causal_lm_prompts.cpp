// How a language model's rows are given other prompts.
#include <ATen/ATen.h>

#include "policy/reference_prompts.h"
#include "rft/core/error.h"
#include "rft/policy/causal_lm.h"

namespace rft {
namespace {

constexpr char kIds[] = "prompt_ids", kLength[] = "prompt_length";
constexpr char kRefIds[] = "ref_prompt_ids", kRefLength[] = "ref_prompt_length";

}  // namespace

void CausalLm::set_prompts(Experience& batch, const std::vector<std::string>& prompts, bool of_reference) const {
  const int64_t room = batch.mask.defined() ? batch.mask.size(1) : rollout_.max_new_tokens;
  std::vector<TokenRow> rows;
  for (size_t b = 0; b < prompts.size(); ++b) {
    rows.push_back({tokenizer_.encode(prompts[b]), {}});
    const auto length = static_cast<int64_t>(rows.back().prompt.size());
    check_prompt(rows.back().prompt, cat("rollout.reprompt, row ", b));
    if (length + room > decoder_->config().max_positions)
      bad_input("rollout.reprompt", "a prompt of ", length, " tokens and ", room, " decisions exceed the model's ",
                decoder_->config().max_positions, " positions");
  }
  const Experience packed = pack(rows);
  batch.context.set(of_reference ? kRefIds : kIds, packed.context.tensor(kIds));
  batch.context.set(of_reference ? kRefLength : kLength, packed.context.tensor(kLength));
}

Experience as_reference_reads(const Experience& batch) {
  Experience out = batch;
  if (Tensor ids = batch.context.find(kRefIds); ids.defined())
    out.context.set(kIds, ids), out.context.set(kLength, batch.context.tensor(kRefLength));
  return out;
}

}  // namespace rft
