#pragma once
/// Rewards by frozen networks that say something of every place of an image (extra::image): whether a controlled
/// model's picture is what its condition asked for. ControlNet++ (Li et al. 2024, arXiv:2404.07987). They keep the
/// samples' graph.
#include <memory>
#include <string>
#include <vector>

#include "rft/core/options.h"
#include "rft/nn/dense_predictor.h"
#include "rft/reward/reward_model.h"

namespace rft {

/// Minus the mean cross-entropy, in nats a pixel, between a segmentation model's logits, resized bilinearly to the
/// label map, and the label map's classes; pixels of class 255 count for nothing. The labels are those of context's
/// tensor of the column's name [B, C, H, W] (a ControlNet's), else of the PNG that the column names, as large as the
/// sample: with `condition: labels` its grey value is the class number (0 .. 255 of 255; with `reduce_labels` it is one
/// more than that, and 0 counts for nothing, as in ADE20K); with `condition: picture` the model's own likeliest classes
/// of it. A row whose map is missing, of another size, not grey, of unknown classes or 255 all over has an error.
class SegmentationConsistency : public RewardModel {
 public:
  struct Options {
    std::string path = "", column = "control", directory = "", condition = "labels";
    bool reduce_labels = false;
    int64_t batch_size = 16;
    void visit(OptionVisitor& v);
  };
  /// Throws UserError where the directory can't be read or has no model of 2 .. 255 classes.
  explicit SegmentationConsistency(Options options);
  Rewards score(const Experience& batch) override;
  bool per_row() const override { return true; }
  std::vector<std::string> columns() const override { return {options_.column}; }

 private:
  /// conditions [B, C, H, W] -> classes [B, H, W] of int64, 255 where nothing counts; errors are put in.
  Tensor classes(const Tensor& conditions, std::vector<std::string>& errors) const;

  Options options_;
  std::unique_ptr<DensePredictor> model_;
};

/// Minus the mean squared difference, over pixels, between a depth model's map and the condition's, each divided by its
/// largest value and so in [0, 1] (ControlNet++'s code; the model's map is first resized bilinearly to the sample's
/// size). The condition comes as in SegmentationConsistency: with `condition: depth` it is a depth map (the mean over
/// its channels; of relative models larger is nearer), with `condition: picture` the model's own map of it. A row whose
/// condition is missing, of another size or black all over has an error.
class DepthConsistency : public RewardModel {
 public:
  struct Options {
    std::string path = "", column = "control", directory = "", condition = "depth";
    int64_t batch_size = 16;
    void visit(OptionVisitor& v);
  };
  /// Throws UserError where the directory can't be read or has no depth model.
  explicit DepthConsistency(Options options);
  Rewards score(const Experience& batch) override;
  bool per_row() const override { return true; }
  std::vector<std::string> columns() const override { return {options_.column}; }

 private:
  /// images [B, 3, H, W] -> [B, H, W], the largest value of each 1.
  Tensor depths(const Tensor& images) const;

  Options options_;
  std::unique_ptr<DensePredictor> model_;
};

}  // namespace rft
