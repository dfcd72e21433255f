#pragma once
/// One optimizer step: micro-batches, accumulation, finiteness, clipping.
#include <functional>
#include <set>
#include <string>

#include "rft/core/metrics.h"
#include "rft/dist/communicator.h"
#include "rft/objective/objective.h"
#include "rft/policy/policy.h"
#include "rft/reward/reward_model.h"
#include "rft/train/optimizer.h"

namespace rft {

struct UpdateOptions {
  int64_t micro_batch_size = 0;    ///< 0 = the whole batch
  int64_t micro_batch_tokens = 0;  ///< the same in tokens, of a policy that counts them (CountsTokens); 0 = any number
  double max_grad_norm = 0;        ///< 0 = no clipping
  double lr = 0;
  /// Gives the learning rate of what the objective found in this batch, in place of `lr`; may be empty.
  std::function<double(const Metrics&)> rate;
  RewardModel* reward = nullptr;  ///< judges the samples of pathwise objectives
  int64_t blocks = 1;  ///< of rows that belong together, row i of each (of pairs 2); micro_batch_size counts these
  bool compare_logp = false;  ///< the weights are those that sampled the batch: report `logp_mismatch`
  /// Other weights sampled it: with compare_logp also report the importance weights now / then of its decisions,
  /// `importance/mean` and `importance/max`.
  bool off_policy = false;
  Communicator* processes = nullptr;  ///< who shares the micro-batches; every one has the whole batch
};

/// What an update came to. A non-finite loss or gradient leaves the weights and the optimizer as they were.
struct UpdateResult {
  bool finite = true;
  std::string problem;                 ///< which term or gradient, and which rows
  std::set<std::string> trained = {};  ///< the groups of parameters that the loss trains; empty: all
};

/// Evaluates `batch` micro-batch by micro-batch (pairs and groups that the objective reads together stay together),
/// adds up the gradients and steps; of a policy that counts tokens also packing/packs, how many micro-batches there
/// are, and packing/padding (train/micro_batches.h). The gradient is that of the whole batch for any micro-batch size:
/// the objective normalises by batch.totals, which are set here. Several processes each take some of the micro-batches
/// and add up their gradients: the step is the same as one process's, but for the order of that sum.
UpdateResult update(Policy& policy, Objective& objective, Optimizer& optimizer, Experience& batch, const Needs& needs,
                    const UpdateOptions& options, Metrics& metrics);

/// The first half of update(): the gradient of the whole batch, over all processes, is what the optimizer holds then.
/// `metrics` gets what the objective found, and the loss. A loss that is not finite leaves no gradient to be used.
UpdateResult gradient(Policy& policy, Objective& objective, Optimizer& optimizer, Experience& batch, const Needs& needs,
                      const UpdateOptions& options, Metrics& metrics);

}  // namespace rft
