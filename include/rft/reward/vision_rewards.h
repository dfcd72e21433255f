#pragma once
/// Rewards by frozen networks that look at the images (extra::image). All of them keep the samples' graph.
#include <memory>
#include <string>
#include <vector>

#include "rft/core/options.h"
#include "rft/nn/text_encoder.h"
#include "rft/nn/vision_encoder.h"
#include "rft/reward/reward_model.h"
#include "rft/text/tokenizer.h"

namespace rft {

/// What a ViTForImageClassification directory says of the row's class: its log-probability, probability or logit; or
/// the value of a regressor (num_labels 1). The class is fixed where `target` is one of the model's labels or a class
/// number, else it stands in the column `target`, as a label or a number.
class ImageClassifierReward : public RewardModel {
 public:
  struct Options {
    std::string path = "", target = "class_label", score = "log_probability";
    int64_t batch_size = 64;
    void visit(OptionVisitor& v);
  };
  /// Throws UserError where the directory can't be read or has no head that goes with `score`.
  explicit ImageClassifierReward(Options options);
  Rewards score(const Experience& batch) override;
  bool per_row() const override { return true; }
  std::vector<std::string> columns() const override;

 private:
  int64_t class_of(const std::string& text) const;
  std::vector<int64_t> classes(const Experience& batch, std::vector<std::string>& errors) const;

  Options options_;
  std::unique_ptr<VisionEncoder> model_;
  int64_t fixed_ = -1;  ///< the class of all rows, or -1
};

/// 100 times the cosine between the picture's and the text's CLIP embeddings (CLIPScore, Hessel et al. 2021,
/// arXiv:2104.08718, without its clamp at 0).
class ClipSimilarity : public RewardModel {
 public:
  struct Options {
    std::string path = "", column = "prompt";
    int64_t batch_size = 64;
    void visit(OptionVisitor& v);
  };
  /// Throws UserError where the CLIPModel directory can't be read.
  explicit ClipSimilarity(Options options);
  Rewards score(const Experience& batch) override;
  bool per_row() const override { return true; }
  std::vector<std::string> columns() const override;

 private:
  /// [1, P], of length 1.
  Tensor embed(const std::string& text) const;

  Options options_;
  std::unique_ptr<VisionEncoder> vision_;
  std::unique_ptr<TextEncoder> text_;
  Tokenizer tokenizer_;
};

/// A stack of linear layers on the picture's CLIP embedding of length 1: the LAION aesthetic predictor (768 - 1024 -
/// 128 - 64 - 16 - 1; no activations between them), whose sizes are read from the file.
class Aesthetic : public RewardModel {
 public:
  struct Options {
    std::string path = "", head = "";
    int64_t batch_size = 64;
    void visit(OptionVisitor& v);
  };
  /// Throws UserError where the directory or the head can't be read, or their widths do not meet.
  explicit Aesthetic(Options options);
  Rewards score(const Experience& batch) override;
  bool per_row() const override { return true; }

 private:
  Options options_;
  std::unique_ptr<VisionEncoder> vision_;
  std::vector<Linear> head_;
};

/// The cosine between the features of the picture and those of the row's picture in a column of the dataset: identity
/// (Chen et al. 2024, ID-Aligner, arXiv:2404.15449) with a face encoder, style or content with CLIP.
class FeatureCosine : public RewardModel {
 public:
  struct Options {
    std::string path = "", column = "reference", directory = "";
    int64_t batch_size = 64;
    void visit(OptionVisitor& v);
  };
  /// Throws UserError where the directory can't be read.
  explicit FeatureCosine(Options options);
  Rewards score(const Experience& batch) override;
  bool per_row() const override { return true; }
  std::vector<std::string> columns() const override { return {options_.column}; }

 private:
  Options options_;
  std::unique_ptr<VisionEncoder> vision_;
};

}  // namespace rft
