#pragma once
/// Policy: makes decisions and says how likely each one was.
#include <functional>
#include <string>
#include <vector>

#include "rft/core/experience.h"
#include "rft/core/metrics.h"
#include "rft/core/options.h"
#include "rft/core/parameter.h"
#include "rft/core/state.h"

namespace rft {

class Rows;

struct SampleRequest {
  int64_t group_size = 1;  ///< samples a context; row i of the result answers context i / group_size
  uint64_t seed = 0;       ///< row i's draws depend on (seed, first_row() + i, position) alone
  bool greedy = false;     ///< the most likely decision, whatever the rollout options say
  /// Called now and then from the sampling thread with (rows done, decisions made); may be empty.
  std::function<void(int64_t, int64_t)> progress;
  int64_t first_context = 0;  ///< contexts before these, where other processes answer the rest of them

  int64_t first_row() const { return first_context * group_size; }
};

/// [B] rewards of a finished sample, with their graph: what reward backpropagation goes through.
using RewardOfSample = std::function<Tensor(const Experience&)>;

/// Owned by the trainer; called on the training thread only.
class Policy : public Stateful {
 public:
  /// Encodes dataset rows as contexts: sets `context` (with the rows' other columns as text) and nothing else.
  /// Throws UserError naming file and line of a row that can't be read.
  virtual Experience contexts(const Rows& rows) const = 0;
  /// Encodes rows that show what to do (prompt columns and "completion"): sets context, action, mask, group.
  virtual Experience demonstrations(const Rows& rows) = 0;
  /// Encodes rows with "chosen" and "rejected": 2B rows, the chosen ones first. Throws UserError where the policy has
  /// no pairs.
  virtual Experience pairs(const Rows& rows) const;
  /// Encodes rows with "completions", an answer's steps, and "labels", the verdict on each: also extra::step_label.
  /// Throws UserError where the policy has no steps.
  virtual Experience steps(const Rows& rows) const;

  /// Of `rows`, those that the policy can take for `needs`, in their order; it says in the log which it leaves out. All
  /// of them by default.
  virtual Rows usable(const Rows& rows, const Needs& needs) const;

  /// Called once, after construction and before parameters(): what the slots will ask for. `seed` is that of weights
  /// made anew. Throws UserError where the policy can't give it.
  virtual void prepare(const Needs& needs, uint64_t seed);

  /// Visits the options read from the recipe's `rollout:` block; called once, before sample().
  virtual void visit_rollout(OptionVisitor& visitor) = 0;
  /// Samples group_size answers a context: sets context (repeated), action, mask, logp, group (the context's index),
  /// extra. Runs without gradients, on the trainer's own weights.
  virtual Experience sample(const Experience& contexts, const SampleRequest& request) = 0;

  /// Judges `batch.action` with gradients, computing only what `needs` names. Rows of rollouts are judged under the
  /// rollout's temperature, demonstrations under 1.
  virtual Evaluation evaluate(const Experience& batch, const Needs& needs) = 0;
  /// Where needs.pathwise: makes samples as it says and has `reward` judge them. Sets reward, with its graph, logp and
  /// entropy for demonstrations, and extra::image or what else the samples are, without it. Throws UserError where the
  /// policy is not differentiable.
  virtual Evaluation evaluate_path(const Experience& batch, const Needs& needs, const RewardOfSample& reward);
  /// [B, T] log-probability under the reference policy, without gradients.
  virtual Tensor ref_logp(const Experience& batch, const Needs& needs) = 0;
  /// Called after every optimizer step (moving reference, averages).
  virtual void stepped(int64_t step) { (void)step; }

  /// Adds what the policy itself measured since the last call.
  virtual void report(Metrics& metrics) { (void)metrics; }
  /// Called after the last step: what is saved then is the result (averaged weights take the trained ones' place).
  virtual void finish() {}

  virtual std::vector<Parameter> parameters() = 0;
  /// Writes a model directory (or adapter directory) that the medium's usual library loads. `directory` exists and is
  /// empty. Throws RunError naming the file that couldn't be written.
  virtual void save(const std::string& directory) const = 0;
  /// Sets the trained weights to what save() wrote, bit for bit; the reference policy stays what it was.
  virtual void load(const std::string& directory) = 0;
};

}  // namespace rft
