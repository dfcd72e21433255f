#pragma once
/// Policies whose rows are of unequal length: micro-batches can hold so many tokens, rather than so many rows.
#include "rft/core/experience.h"

namespace rft {

class CountsTokens {
 public:
  virtual ~CountsTokens() = default;
  /// [B] int64: tokens that the policy reads where it judges each row of `batch`.
  virtual Tensor row_tokens(const Experience& batch) const = 0;
};

}  // namespace rft
