#pragma once
/// A policy whose contexts are prompts of text, which may be put otherwise.
#include <string>
#include <vector>

#include "rft/core/experience.h"

namespace rft {

/// Beside Policy, for those that can; owned and called as it is.
class ReadsPrompts {
 public:
  virtual ~ReadsPrompts() = default;
  /// Has each row of `batch` [B] go on from prompts[b], its answer and its columns as they are; `of_reference`: only
  /// where the reference policy judges (or where a divergence from it is taken). Throws UserError for a prompt that is
  /// empty, or that leaves no room for the batch's decisions (those of a rollout, where it has none yet).
  virtual void set_prompts(Experience& batch, const std::vector<std::string>& prompts, bool of_reference) const = 0;
};

}  // namespace rft
