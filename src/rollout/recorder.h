#pragma once
/// Writes what actors decide and what comes of it into the columns of one Experience.
#include <vector>

#include "rft/core/action_space.h"
#include "rft/core/experience.h"
#include "rft/policy/actor.h"
#include "rft/rollout/worlds.h"

namespace rft {

/// A cell of the record.
struct RecordPlace {
  int64_t row, step;
};

class Recorder {
 public:
  /// `looks_back`: hindsight() may be called.
  Recorder(int64_t rows, int64_t steps, const EnvironmentSpec& spec, const Acting& what, bool looks_back = false);
  /// Decision i was made at places[i], where raw [N, D] was observed, by an agent that remembered memory[i]; `memory`
  /// is undefined for actors without.
  void decisions(const Decisions& decisions, const Tensor& raw, const Tensor& memory,
                 const std::vector<RecordPlace>& places);
  void reward(RecordPlace at, double value);
  /// The decision at `at` lasted so many steps of its environment; 1 where it isn't said.
  void duration(RecordPlace at, int64_t steps);
  /// Action `number` of the decision at `at` was carried out where observation [D] was seen, and was worth `reward`.
  void step(RecordPlace at, int64_t number, const double* observation, double reward);
  /// Log-probability of undoing the decision at `at`.
  void backward_logp(RecordPlace at, double value);
  /// The episode that ends with the decision at `at` is recorded as if `outcome` had stood in each of its observations
  /// from number `first` on, and that decision had been worth `reward`; to be called after its other columns.
  void hindsight(RecordPlace at, int64_t first, const std::vector<double>& outcome, double reward);
  /// What followed the decision at `at`; observation [D].
  void next_observation(RecordPlace at, const double* observation);
  /// The episode ended by itself with the decision at `at`.
  void terminated(RecordPlace at);
  /// Time ran out with the decision at `at`; `observation` [D] is what followed, and `memory` [M] what the agent
  /// remembered then.
  void out_of_time(RecordPlace at, const double* observation, const float* memory);
  /// The record of this row ends in mid-episode; `observation` [D] is what follows.
  void pause(int64_t row, const double* observation, const float* memory);
  /// What was decided from step `from` to `to` of this row is not to be learned from.
  void dropped(int64_t row, int64_t from, int64_t to);
  /// The first `steps` columns. A row in which everything was dropped has a reward of NaN.
  Experience finish(Actor& actor, int64_t steps) const;

 private:
  void judge_again(Experience& out, Actor& actor) const;
  void set_values(Experience& out, Actor& actor, int64_t steps) const;
  void follows(RecordPlace at, const double* observation, const float* memory);
  Tensor values_after(Actor& actor) const;

  int64_t rows_, steps_, width_, memory_width_ = 0;
  Acting what_;
  bool looks_back_;
  Tensor observation_, action_, logp_, step_logp_, value_, reward_, duration_, mask_, last_, dropped_, backward_;
  Tensor next_observation_, terminated_, raw_, command_;  ///< where they are asked for
  Tensor step_observation_, step_reward_;                 ///< the same
  std::vector<int64_t> seen_again_;                       ///< rows whose observations hindsight() changed
  Tensor memory_;                                         ///< [rows, M] before a row's first decision
  std::vector<RecordPlace> cut_;                          ///< where an episode goes on unseen, or was cut off
  std::vector<double> following_;                         ///< the observations there, [cut_.size() * D]
  std::vector<float> remembered_;                         ///< what the agents remember there, [cut_.size() * M]
};

}  // namespace rft
