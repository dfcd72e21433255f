#pragma once
/// Rewards of distributions of images (extra::image): how the samples as a whole compare with a reference set, or with
/// each other. They have no gradient; each row gets what it contributes (Bai et al. 2025, DRAGON, arXiv:2504.15217).
#include <memory>
#include <string>

#include "rft/core/options.h"
#include "rft/nn/vision_encoder.h"
#include "rft/reward/reward_model.h"

namespace rft {

/// Mean and covariance (divisor N - 1) of a set of feature vectors, float64.
struct Gaussian {
  Tensor mean;        ///< [D]
  Tensor covariance;  ///< [D, D]
};

/// How much nearer the set of samples comes to the reference by this row: the Frechet distance (of Gaussians, as in
/// FID) of the others less that of all. Positive is good. Sets smaller than 3 are NaN.
class FrechetReward : public RewardModel {
 public:
  struct Options {
    std::string path = "", reference = "", over = "batch";
    int64_t batch_size = 64;
    void visit(OptionVisitor& v);
  };
  /// Throws UserError where the encoder or the reference can't be read.
  explicit FrechetReward(Options options);
  Rewards score(const Experience& batch) override;

 private:
  Options options_;
  std::unique_ptr<VisionEncoder> encoder_;  ///< null: the pixels themselves
  Gaussian reference_;
};

/// How much more diverse the set of samples is by this row: the Vendi score (Friedman & Dieng 2023, arXiv:2210.02410;
/// cosine similarity) of all less that of the others; or, `of` set, that of all, the same for each row: how diverse a
/// run's samples are, as a metric of weight 0. Sets of one are NaN.
class VendiReward : public RewardModel {
 public:
  struct Options {
    std::string path = "", over = "group", of = "row";
    int64_t batch_size = 64;
    void visit(OptionVisitor& v);
  };
  /// Throws UserError where the encoder can't be read.
  explicit VendiReward(Options options);
  Rewards score(const Experience& batch) override;

 private:
  Options options_;
  std::unique_ptr<VisionEncoder> encoder_;
};

/// DRAGON's instance-to-distribution reward: minus the Frechet distance between the features of one picture's patches,
/// taken as a distribution of its own, and those of the reference's patches (their "per-song" distance).
class DragonReward : public RewardModel {
 public:
  struct Options {
    std::string path = "", reference = "";
    int64_t patch = 1, batch_size = 64;
    void visit(OptionVisitor& v);
  };
  /// Throws UserError where the encoder or the reference can't be read.
  explicit DragonReward(Options options);
  Rewards score(const Experience& batch) override;
  bool per_row() const override { return true; }

 private:
  /// images [N, 3, H, W] -> [N, L, D].
  Tensor patches(const Tensor& images) const;

  Options options_;
  std::unique_ptr<VisionEncoder> encoder_;  ///< null: the pixels of each patch
  Gaussian reference_;
};

}  // namespace rft
