#pragma once
/// Prompts put otherwise: an answer is sampled on one prompt, learned on another, and judged by the reference on a
/// third. Each is a template in which {prompt}, {completion} and {COLUMN} of the dataset stand for their texts; empty:
/// the prompt as it was sampled.
///   asked    what is answered, in rollouts and evaluations
///   learned  what the policy reads when it learns the answer. {level} is the answer's reward as a number from 0 on: of
///            `levels` [l0, l1, ...] how many it reaches, or with `quantiles` K its quantile among the rollout's, 0 to
///            K - 1 (equal rewards: the lowest that any of them would have, but the best is always K - 1);
///            `asked` names the best. These are reward tokens: Quark (Lu et al. 2022, arXiv:2205.13636), LeTI (Wang et
///            al. 2023, arXiv:2305.10314), whose token says whether the program passed
///   judged   what the reference reads: a teacher that knows more than the policy does (self-distillation): a column of
///            the dataset (SDFT, Shenfeld et al. 2026, arXiv:2601.19897), or {solution}, the group's first other answer
///            whose reward reaches `solved` (SDPO, Huebotter et al. 2026, arXiv:2601.20802). Rows without such an
///            answer are left out, as in TRL 1.16's SDPOTrainer
/// Rows left out, and with {level} those whose reward is NaN or (quantiles) the same in all rows, have no decision to
/// learn from (mask). Metrics:
/// reprompt/left_out, the share of these rows.
#include <optional>
#include <string>
#include <vector>

#include "rft/core/metrics.h"
#include "rft/core/options.h"
#include "rft/policy/policy.h"

namespace rft {

struct RepromptOptions {
  std::string asked, learned, judged;
  std::vector<double> levels;
  std::optional<int64_t> quantiles;
  double solved = 1;
  void visit(OptionVisitor& v);

  bool any() const { return !asked.empty() || changes_rows(); }
  /// Whether rows change once they have their rewards.
  bool changes_rows() const { return !learned.empty() || !judged.empty(); }
  /// The dataset's columns that the templates name.
  std::vector<std::string> columns() const;
  /// Throws UserError where names and options don't fit each other.
  void check() const;
};

/// Puts the prompts of `contexts` as `asked` says. Throws UserError where the policy reads no prompts of text.
void ask_otherwise(const Policy& policy, Experience& contexts, const RepromptOptions& options);
/// Puts the prompts of rewarded rows as `learned` and `judged` say. Where they are learned on another prompt than they
/// answered, their logp is none of this policy's and is taken away.
void learn_otherwise(const Policy& policy, Experience& batch, const RepromptOptions& options, Metrics& metrics);

}  // namespace rft
