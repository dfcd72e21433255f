#pragma once
/// What a model of episodes, trained from preferences (policy episode_scorer), says of what an actor does: of every
/// decision the sum over the steps of the environment that it lasted. Gen-Drive's scene evaluator, and the learned
/// rewards of Christiano et al. (2017, arXiv:1706.03741).
#include <string>

#include "rft/core/options.h"
#include "rft/nn/episode_model.h"
#include "rft/reward/reward_model.h"

namespace rft {

class EpisodeReward : public RewardModel {
 public:
  struct Options {
    std::string path;
    void visit(OptionVisitor& v);
  };
  /// Throws UserError where `path` holds no model of episodes.
  explicit EpisodeReward(Options options);
  /// Reads extra::step_observation [B, T, n, D] and command [B, T, n A], of decisions that hold n actions, and
  /// duration. Value [B, T], 0 where masked. Throws UserError where the model is of another environment.
  Rewards score(const Experience& batch) override;
  bool per_row() const override { return true; }

 private:
  std::string path_;
  EpisodeModel model_;
};

}  // namespace rft
