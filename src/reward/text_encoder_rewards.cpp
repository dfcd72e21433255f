#include "rft/reward/text_encoder_rewards.h"

#include <ATen/ATen.h>

#include <cmath>

#include "reward/labels.h"
#include "reward/per_row.h"
#include "rft/core/error.h"
#include "rft/core/extra.h"

namespace rft {

void TextClassifierReward::Options::visit(OptionVisitor& v) {
  v.option("path", path,
           "a Hugging Face directory (Bert-, Roberta-, XLMRoberta- or DistilBertForSequenceClassification)",
           required());
  v.option("label", label, "whose score is the reward; may be left out where the model has one");
  v.option("score", score, "what the model says of it; with one label probability is the logit's sigmoid",
           one_of({"probability", "logit", "log_probability"}));
  v.option("text", text, "what it reads", one_of({"completion", "prompt_and_completion"}));
}

TextClassifierReward::TextClassifierReward(Options options) : options_(std::move(options)), model_(options_.path) {
  const auto& labels = model_.labels();
  if (labels.empty())
    bad_input("text_classifier.path", "'", options_.path, "' has no head that classifies (ForSequenceClassification)");
  if (labels.size() > 1 || !options_.label.empty())
    label_ = label_index(labels, options_.label, "text_classifier.label");
}

Rewards TextClassifierReward::score(const Experience& batch) {
  std::vector<std::string> texts = batch.context.text(extra::completion);
  if (options_.text == "prompt_and_completion") {
    const auto& prompts = batch.context.text(extra::prompt);
    for (size_t i = 0; i < texts.size(); ++i) texts[i] = prompts[i] + texts[i];
  }
  Tensor logits = model_.logits(texts).to(at::kDouble);
  bool single = logits.size(1) == 1;
  if (options_.score == "probability") logits = single ? logits.sigmoid() : logits.softmax(1);
  if (options_.score == "log_probability") logits = single ? at::log_sigmoid(logits) : logits.log_softmax(1);
  Tensor score = logits.select(1, label_).contiguous();
  return score_rows(batch, "text_classifier", [&](int64_t row) {
    double value = score.const_data_ptr<double>()[row];
    if (std::isnan(value)) run_failed("text_classifier", "the text has no tokens, or more than the model takes");
    return value;
  });
}

void TextSimilarity::Options::visit(OptionVisitor& v) {
  v.option("path", path, "a directory of sentence-transformers, or of a bare encoder (the mean of its states)",
           required());
  v.option("column", column, "the dataset's column that the completion should mean the same as");
}

TextSimilarity::TextSimilarity(Options options) : options_(std::move(options)), model_(options_.path) {}

Rewards TextSimilarity::score(const Experience& batch) {
  Tensor ours = model_.embed(batch.context.text(extra::completion)).to(at::kDouble);
  Tensor theirs = model_.embed(batch.context.text(options_.column)).to(at::kDouble);
  Tensor norms = ours.norm(2, 1).mul(theirs.norm(2, 1)).clamp_min(1e-12);
  Tensor cosine = ours.mul(theirs).sum(1).div(norms).contiguous();
  return score_rows(batch, "text_similarity", [&](int64_t row) { return cosine.const_data_ptr<double>()[row]; });
}

}  // namespace rft
