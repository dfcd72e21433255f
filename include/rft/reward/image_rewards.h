#pragma once
/// Rewards that are computed from an image's pixels (extra::image). All but the JPEG size keep the samples' graph.
#include <string>
#include <vector>

#include "rft/core/options.h"
#include "rft/reward/reward_model.h"

namespace rft {

/// Minus the size of the picture as a JPEG file (4:2:0), in kilobytes of 1000 bytes; plus, for incompressible ones.
/// Black et al. 2023, arXiv:2305.13301. Has no gradient.
class JpegSize : public RewardModel {
 public:
  struct Options {
    bool incompressible = false;
    int64_t quality = 95;
    void visit(OptionVisitor& v);
  };
  explicit JpegSize(Options options) : options_(options) {}
  Rewards score(const Experience& batch) override;
  bool per_row() const override { return true; }

 private:
  Options options_;
};

/// What a picture should look like: one colour, or the row's picture in a column of the dataset.
struct PictureTarget {
  std::vector<double> colour = {};
  std::string column = "", directory = "";
  void visit(OptionVisitor& v);
  /// Throws UserError naming `where` unless exactly one of colour and column is given, and the colour is three numbers
  /// in [0, 1].
  void check(const std::string& where) const;
};

/// Minus the squared distance (summed over red, green, blue) of the picture's mean colour to the target's.
class ColourTarget : public RewardModel {
 public:
  using Options = PictureTarget;
  explicit ColourTarget(Options options);
  Rewards score(const Experience& batch) override;
  bool per_row() const override { return true; }
  std::vector<std::string> columns() const override;

 private:
  Options options_;
};

/// Minus the squared distance of colours (summed over red, green, blue), the mean over pixels. A column's pictures must
/// have the samples' size.
class PixelTarget : public RewardModel {
 public:
  using Options = PictureTarget;
  explicit PixelTarget(Options options);
  Rewards score(const Experience& batch) override;
  bool per_row() const override { return true; }
  std::vector<std::string> columns() const override;

 private:
  Options options_;
};

/// Minus the mean squared difference between the picture's edges and the condition's. Edges: the length of the Sobel
/// gradient of the mean over channels, 1 at a step from black to white. The condition is context's tensor of the
/// column's name [B, C, H, W] (a ControlNet's), else the PNG that the column names. ControlNet++, arXiv:2404.07987.
class EdgeConsistency : public RewardModel {
 public:
  struct Options {
    std::string column = "control", directory = "", condition = "edges";
    void visit(OptionVisitor& v);
  };
  explicit EdgeConsistency(Options options) : options_(std::move(options)) {}
  Rewards score(const Experience& batch) override;
  bool per_row() const override { return true; }
  std::vector<std::string> columns() const override { return {options_.column}; }

 private:
  Options options_;
};

}  // namespace rft
