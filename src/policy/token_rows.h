#pragma once
/// What the policies that write texts have in common: rows of tokens in and out of an Experience.
#include <vector>

#include "rft/policy/lm_sampler.h"
#include "rft/policy/policy.h"

namespace rft {

/// The prompts of `contexts`, without their padding.
std::vector<std::vector<int64_t>> prompts_of(const Experience& contexts);
/// What was sampled, group_size rows a context, with logp, extra::truncated and extra::completion.
Experience rollout_of(const Experience& contexts, int64_t group_size, const std::vector<SampledRow>& sampled,
                      const Tokenizer& tokenizer);
}  // namespace rft
