#pragma once
/// Rollouts that are sampled on a thread of its own while the trainer learns from an earlier one.
#include <condition_variable>
#include <deque>
#include <exception>
#include <memory>
#include <mutex>
#include <thread>

#include "rft/policy/samples_pieces.h"
#include "rft/rollout/collector.h"

namespace rft {

/// Used from the training thread. Rollouts are sampled one after another in the order in which they are begun, each by
/// the policy as it was then, and scored meanwhile; which weights that are is the caller's choice, and how fast
/// anything goes changes nothing. Several processes begin and take alike, and share the sampling.
class AheadSampler {
 public:
  /// Both may be null, and outlive this; `reward` must score every row by itself.
  AheadSampler(RewardModel* reward, Communicator* processes);
  /// Ends what is in the making.
  ~AheadSampler();
  AheadSampler(const AheadSampler&) = delete;
  AheadSampler& operator=(const AheadSampler&) = delete;

  /// A rollout that was begun, and the number of optimizer steps before that.
  struct Rollout {
    Drawn drawn;
    int64_t step = 0;
  };
  void begin(std::shared_ptr<SamplesPieces> sampler, Asked asked, Questions questions, int64_t step);
  /// Puts a rollout that is there already (a checkpoint's) behind the others.
  void restore(Rollout rollout);
  /// The oldest one that was not taken yet, with all processes' rows: collective. Throws what sampling or a reward
  /// threw.
  Rollout take();
  /// How many were begun and not taken.
  int64_t waiting() const;
  /// Contexts that these ask.
  int64_t contexts() const;
  /// These, in their order, once they are all there, and with all processes' rows: collective, as take() is.
  std::vector<const Rollout*> finish();

 private:
  struct Job;
  void run();
  void sample(Job& job);
  void complete(Job& job);

  RewardModel* reward_;
  Communicator* processes_;
  mutable std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<std::unique_ptr<Job>> jobs_;
  bool stopping_ = false;
  std::thread thread_;  ///< last: it uses the rest
};

}  // namespace rft
