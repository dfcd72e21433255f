#pragma once
/// A policy whose reference can answer in its place.
#include "rft/policy/policy.h"

namespace rft {

/// Beside Policy, for those that can; owned and called as it is.
class ReferenceSampler {
 public:
  virtual ~ReferenceSampler() = default;
  /// Policy::sample by the reference policy, under the same rollout options; `logp` is the reference's.
  virtual Experience sample_reference(const Experience& contexts, const SampleRequest& request) = 0;
};

}  // namespace rft
