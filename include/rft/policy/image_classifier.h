#pragma once
/// A classifier or regressor of images as a policy whose one decision is its answer: what makes a reward model.
#include <memory>
#include <string>

#include "rft/nn/vision_encoder.h"
#include "rft/policy/policy.h"

namespace rft {

/// context holds "pixels" [B, 3, H, W] in [0, 1]; action [B, 1] is the class (int64), or for a model of one label the
/// value (float32), whose logp is -(answer - value)^2 / 2. Rows: "image" (a PNG file), and to learn from "class_label"
/// (a number or a label's name) or "value". extra::completion is the label's name.
class ImageClassifier : public Policy {
 public:
  struct Options {
    std::string path;
    void visit(OptionVisitor& v);
  };
  struct Rollout {
    void visit(OptionVisitor&) {}
  };
  explicit ImageClassifier(Options options);

  Experience contexts(const Rows& rows) const override;
  Experience demonstrations(const Rows& rows) override;
  void visit_rollout(OptionVisitor&) override {}
  Experience sample(const Experience& contexts, const SampleRequest& request) override;
  Evaluation evaluate(const Experience& batch, const Needs& needs) override;
  Tensor ref_logp(const Experience& batch, const Needs& needs) override;
  std::vector<Parameter> parameters() override;
  void save(const std::string& directory) const override;
  void load(const std::string& directory) override;

 private:
  bool regressor() const { return model_->labels().size() == 1; }
  int64_t label_of(const Rows& rows, int64_t i) const;
  Evaluation judge(const VisionEncoder& model, const Experience& batch) const;

  Options options_;
  std::unique_ptr<VisionEncoder> model_, reference_;
};

}  // namespace rft
