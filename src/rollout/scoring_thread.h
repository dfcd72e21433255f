#pragma once
/// Rewards computed beside the sampler.
#include <condition_variable>
#include <deque>
#include <exception>
#include <map>
#include <mutex>
#include <thread>

#include "rft/reward/reward_model.h"

namespace rft {

/// Scores rows on a thread of its own, in the order in which they are given: one piece after another.
class ScoringThread {
 public:
  /// `model` must outlive this, and score every row by itself.
  explicit ScoringThread(RewardModel& model);
  /// Drops what waits.
  ~ScoringThread();
  ScoringThread(const ScoringThread&) = delete;
  ScoringThread& operator=(const ScoringThread&) = delete;

  /// `first` orders the pieces.
  void add(int64_t first, Experience rows);
  /// Waits until all is scored; the pieces in the order of `first`, with their rewards (reward_columns.h). Throws what
  /// the reward threw. The last call.
  std::vector<Experience> finish();
  /// Seconds that it scored so far.
  double seconds();

 private:
  void run();
  void stop();

  RewardModel& model_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<std::pair<int64_t, Experience>> waiting_;
  std::map<int64_t, Experience> scored_;
  std::exception_ptr failed_;
  double seconds_ = 0;
  bool complete_ = false;  ///< nothing more is added
  std::thread thread_;     ///< last: it uses the rest
};

}  // namespace rft
