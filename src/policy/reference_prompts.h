#pragma once
/// Rows whose reference policy reads another prompt than the policy (ReadsPrompts).
#include "rft/core/experience.h"

namespace rft {

/// `batch` with the prompts that are the reference's, where it has such.
Experience as_reference_reads(const Experience& batch);

}  // namespace rft
