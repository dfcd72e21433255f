#include <ATen/ATen.h>

#include <algorithm>

#include "reward/images.h"
#include "reward/vision_model.h"
#include "rft/core/error.h"
#include "rft/core/text.h"
#include "rft/reward/vision_rewards.h"

namespace rft {
namespace {

constexpr char kImageClassifier[] = "image_classifier";

}  // namespace

void ImageClassifierReward::Options::visit(OptionVisitor& v) {
  model_options(v, path, "a Hugging Face directory (ViTForImageClassification)", batch_size);
  v.option("target", target, "a label of the model or a class number; else the dataset's column that has one");
  v.option("score", score, "what the model says of the class; value: the output of a model with one number",
           one_of({"log_probability", "probability", "logit", "value"}));
}

ImageClassifierReward::ImageClassifierReward(Options options)
    : options_(std::move(options)), model_(load_vision_encoder(options_.path, "image_classifier.path")) {
  const auto labels = static_cast<int64_t>(model_->labels().size());
  if (labels == 0) bad_input(options_.path, "the model has no classification head");
  if ((labels == 1) != (options_.score == "value"))
    bad_input("image_classifier.score",
              "a model with one number goes with score: value, one with classes with the "
              "others; got ",
              options_.score, " and a model of ", labels);
  if (options_.score == "value") return;
  fixed_ = class_of(options_.target);
  bool number = !options_.target.empty() && options_.target.find_first_not_of("0123456789") == std::string::npos;
  if (fixed_ < 0 && number)
    bad_input("image_classifier.target", "must be in 0 .. ", labels - 1, "; got ", options_.target);
}

std::vector<std::string> ImageClassifierReward::columns() const {
  return options_.score == "value" || fixed_ >= 0 ? std::vector<std::string>{}
                                                  : std::vector<std::string>{options_.target};
}

/// The class that a label or a number names, or -1.
int64_t ImageClassifierReward::class_of(const std::string& text) const {
  const auto& labels = model_->labels();
  if (auto named = std::find(labels.begin(), labels.end(), text); named != labels.end()) return named - labels.begin();
  if (text.empty() || text.size() > 9 || text.find_first_not_of("0123456789") != std::string::npos) return -1;
  int64_t number = std::stoll(text);
  return number < static_cast<int64_t>(labels.size()) ? number : -1;
}

std::vector<int64_t> ImageClassifierReward::classes(const Experience& batch, std::vector<std::string>& errors) const {
  std::vector<int64_t> out;
  for (const auto& text : batch.context.text(options_.target)) {
    out.push_back(std::max<int64_t>(class_of(text), 0));
    bool found = class_of(text) >= 0;
    errors.push_back(found ? ""
                           : cat("column '", options_.target, "': a label or a number in 0 .. ",
                                 model_->labels().size() - 1, " is needed; got '", text, "'",
                                 suggestion(text, model_->labels())));
  }
  return out;
}

Rewards ImageClassifierReward::score(const Experience& batch) {
  Tensor images = images_of(batch, kImageClassifier);
  std::vector<std::string> errors;
  std::vector<int64_t> target(static_cast<size_t>(images.size(0)), std::max<int64_t>(fixed_, 0));
  if (options_.score != "value" && fixed_ < 0) target = classes(batch, errors);
  Tensor logits = encode(*model_, images, options_.batch_size, &VisionEncoder::Output::logits).to(at::kFloat);
  if (options_.score == "log_probability") logits = logits.log_softmax(1);
  if (options_.score == "probability") logits = logits.softmax(1);
  Tensor index = at::tensor(target, at::kLong).to(logits.device()).unsqueeze(1);
  return image_rewards(kImageClassifier, logits.gather(1, index).squeeze(1), std::move(errors));
}

}  // namespace rft
