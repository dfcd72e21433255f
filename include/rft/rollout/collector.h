#pragma once
/// contexts -> rollout -> reward -> credit -> select: everything before the objective.
#include <functional>

#include "rft/core/metrics.h"
#include "rft/credit/credit.h"
#include "rft/dist/communicator.h"
#include "rft/policy/policy.h"
#include "rft/reward/reward_model.h"
#include "rft/rollout/answer_lengths.h"
#include "rft/rollout/reprompt.h"
#include "rft/rollout/row_cursor.h"
#include "rft/rollout/spread.h"
#include "rft/rollout/worlds.h"
#include "rft/select/selector.h"

namespace rft {

/// The slots of a rollout; none is owned. reward and credit may be null. With `worlds` the policy is an Actor, and what
/// happens there takes the place of contexts; rewards are theirs unless there is a reward.
struct RolloutSlots {
  Policy& policy;
  RewardModel* reward;
  Credit* credit;
  Selector& selector;
  Worlds* worlds = nullptr;
  /// The processes of the run: each samples its share of the contexts and scores its share of the answers, and all get
  /// all rows. What is cheap (credit, selection), what acts in worlds and rewards of a whole batch are computed
  /// everywhere.
  Communicator* processes = nullptr;
};

/// What a rollout asks: decided on the training thread, in the order of the rollouts.
struct Asked {
  std::vector<int64_t> rows;    ///< numbers of the contexts
  std::vector<int64_t> counts;  ///< the policy's answers to each; empty: as many to each
  uint64_t seed = 0;            ///< of the answers
};

/// Answers that are there already.
struct Drawn {
  Asked asked;
  Experience answers;  ///< all processes', with their rewards where these are there (reward_columns.h)
  ScoringSpent spent;
};

struct CollectOptions {
  int64_t group_size = 1;
  int64_t batch_size = 1;  ///< trajectories a rollout, a multiple of group_size
  Needs needs;             ///< of objective, credit and selector together
  bool recompute_logp = false;
  /// The dataset's own answers, a row each context: one takes the place of the last of a group's samples. May be null.
  const Experience* given = nullptr;
  int64_t reference_answers = 0;  ///< of a group's samples so many are the reference policy's
  RepromptOptions reprompt;
  bool uniform = false;  ///< actors act at random
  double max_reward_failures = 0.5;
  std::function<void(int64_t, int64_t)> progress;
  /// Where the first answers of a rollout are drawn beforehand: gives the next ones. Empty: they are sampled here.
  std::function<Drawn()> drawn;
  AnswerLengths* lengths = nullptr;  ///< of the contexts' answers; may be null
};

/// The next contexts, and how often the selector has each answered.
Asked ask(Selector& selector, RowCursor& cursor, uint64_t seed, const CollectOptions& options);
/// The rows of `contexts` that `asked` means, and how the policy answers them: request.group_size each.
struct Questions {
  Experience contexts;
  SampleRequest request;
  Tensor group;     ///< [C] int64: which of asked.rows each is
  Sharing sharing;  ///< what is expected of them; the processes are the caller's to say
};
Questions questions_of(const Asked& asked, const Experience& contexts, const CollectOptions& options);

/// Draws contexts until the selector has the rows it expects of one rollout (or may not draw more), and returns at most
/// that many; fewer, or none, where the selector kept fewer. `seed` and the cursor's position determine the result.
/// Adds reward, completion and time metrics. Throws RunError where too many rewards could not be computed.
Experience collect(const RolloutSlots& slots, const Experience& contexts, RowCursor& cursor, uint64_t seed,
                   const CollectOptions& options, Metrics& metrics);

/// Scores `batch`: sets reward, extra::reward_components and reward_weights, adds rewards/NAME/mean and std under
/// `prefix`. Throws RunError where a reward model answers with the wrong number of rows, or fails more than
/// `max_failures` of them. Several processes divide the rows where that makes no difference (score_together).
void attach_rewards(Experience& batch, RewardModel& model, double max_failures, const std::string& prefix,
                    Metrics& metrics, Communicator* processes = nullptr);

}  // namespace rft
