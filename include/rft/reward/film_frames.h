#pragma once
#include <memory>
#include <vector>

#include "rft/core/options.h"
#include "rft/reward/reward_model.h"

namespace rft {

/// Rewards of pictures for videos, whose samples are film strips (frame under frame): each of some frames is scored as
/// a picture of its own, and a video is worth
///   R = sum_i w_i r_i,  w_i = e^(-attenuation |i - (frames - 1) / 2|), divided by their sum
/// over its frames i, or with `segments` over the middle frame of each of so many pieces of equal length. InstructVideo
/// (Yuan et al. 2024, arXiv:2312.12490): sparse frames of segments (there a random one of each), and a reward that
/// counts less towards the ends of the video, where the frames differ most. The samples' graph is kept. A video one of
/// whose frames can't be scored is NaN, with that frame's message.
class FilmFrames : public RewardModel {
 public:
  struct Options {
    int64_t frames = 16;
    double attenuation = 0;
    int64_t segments = 0;
    std::vector<Config> rewards;
    void visit(OptionVisitor& v);
  };
  /// Throws UserError where there are more segments than frames.
  explicit FilmFrames(const Options& options);
  Rewards score(const Experience& batch) override;
  bool per_row() const override { return rewards_->per_row(); }
  std::vector<std::string> columns() const override { return rewards_->columns(); }
  State state() const override { return rewards_->state(); }
  void load_state(const State& state) override { rewards_->load_state(state); }

 private:
  std::vector<int64_t> scored() const;

  Options options_;
  std::unique_ptr<RewardModel> rewards_;
};

}  // namespace rft
