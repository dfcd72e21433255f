#pragma once
/// The batches that `rft loss` reads: tensors of one file as an objective sees them.
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "rft/core/experience.h"

namespace rft::app {

struct LossBatch {
  Evaluation now;  ///< built from `leaves`
  Experience batch;
  std::vector<std::pair<std::string, Tensor>> leaves;  ///< what the model produces, under its name in the file
};

/// B rows, T decisions; float32 or float64. Rollouts and demonstrations: `logp`, `mask` [B, T], `entropy`, `value`,
/// `old_logp`, `sampling_logp` (else old_logp, else logp acted), `ref_logp` [B, T], `advantage` [B] or [B, T], `reward`
/// [B] or [B, T], `group` [B] int64. Pairs: `chosen_` and `rejected_` before `logp`, `mask`, `entropy` [B, T] or
/// `score` [B], `ref_chosen_logp`, `ref_rejected_logp`; the batch has 2B rows, the chosen ones first. With a critic
/// also `value`, `old_value` and, where no credit makes them, `returns` [B, T]. Verdicts: `logp`, `mask`, `ref_logp`
/// [B, T], `label` [B], and `kl_logp`, `kl_ref_logp`, `kl_mask` [B, any] where the objective compares with them.
/// Pathwise: `reward` [B], `uncertainty` [B], `group` [B] int64 where two rows are compared, `logp` and `mask` [B, T]
/// where there is a term in them. Everything else with one row a trajectory or pair goes into Experience::extra under
/// its name.
///
/// Throws UserError, which starts with `where` and names everything at fault: tensors missing that `needs` asks for,
/// wrong types, shapes that differ.
LossBatch read_loss_batch(const std::map<std::string, Tensor>& tensors, const Needs& needs, const std::string& where);

}  // namespace rft::app
