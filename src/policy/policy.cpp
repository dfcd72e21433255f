#include "rft/policy/policy.h"

#include "rft/core/error.h"

namespace rft {

Experience Policy::pairs(const Rows&) const {
  bad_input("policy", "this type of policy reads no pairs of \"chosen\" and \"rejected\"");
}

Evaluation Policy::evaluate_path(const Experience&, const Needs&, const RewardOfSample&) {
  bad_input("objective", "it needs samples that a gradient flows through, which this type of policy does not give");
}

}  // namespace rft
