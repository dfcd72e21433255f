#include "rft/policy/policy.h"

#include "rft/core/error.h"

namespace rft {

Rows Policy::usable(const Rows& rows, const Needs&) const { return rows; }

Experience Policy::pairs(const Rows&) const {
  bad_input("policy", "this type of policy reads no pairs of \"chosen\" and \"rejected\"");
}

void Policy::prepare(const Needs& needs, uint64_t) {
  if (needs.score) bad_input("policy", "this type of policy gives no score: the objective trains a reward model");
}

Experience Policy::steps(const Rows&) const {
  bad_input("policy", "this type of policy reads no rows of steps (\"completions\" and \"labels\")");
}

Evaluation Policy::evaluate_path(const Experience&, const Needs&, const RewardOfSample&) {
  bad_input("objective", "it needs samples that a gradient flows through, which this type of policy does not give");
}

}  // namespace rft
