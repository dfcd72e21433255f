#pragma once
/// tokenizer.json's `post_processor`: the special ids around a text.
#include <cstdint>
#include <functional>
#include <vector>

#include "text/spec.h"

namespace rft::text {

using PostProcessor = std::function<std::vector<int64_t>(std::vector<int64_t>)>;

/// The identity for null. Throws UserError on a kind that is not supported.
PostProcessor make_post_processor(const Spec& spec);

}  // namespace rft::text
