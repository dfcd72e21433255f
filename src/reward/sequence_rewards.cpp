#include "rft/reward/sequence_rewards.h"

#include <ATen/ATen.h>

#include <algorithm>

#include "reward/labels.h"
#include "rft/core/error.h"
#include "rft/core/extra.h"
#include "rft/core/text.h"
#include "rft/io/files.h"
#include "rft/io/hf_directory.h"

namespace rft {
namespace {

/// [B, L, V], with its graph where it has one.
Tensor sequences_of(const Experience& batch, int64_t vocabulary, const char* name) {
  Tensor x = batch.extra.find(extra::one_hot);
  if (!x.defined()) {
    const Tensor& ids = batch.action;
    if (!ids.defined() || ids.dim() != 2 || ids.scalar_type() != at::kLong)
      run_failed(name, "the samples are not sequences of tokens");
    if (ids.max().item<int64_t>() < vocabulary) x = at::one_hot(ids, vocabulary).to(at::kFloat);
  }
  if (!x.defined() || x.size(2) != vocabulary)
    run_failed(name, "the policy's vocabulary is not this reward's, which has ", vocabulary, " tokens");
  return x;
}

Rewards rewards_of(const Tensor& value, const char* name) {
  Rewards out;
  out.value = value.scalar_type() == at::kDouble ? value : value.to(at::kFloat);
  out.components = {{name, out.value, 1.0}};
  return out;
}

}  // namespace

void MotifReward::Options::visit(OptionVisitor& v) {
  v.option("motifs", motifs, "texts whose occurrences are counted; ? stands for any token", required());
  v.option("vocabulary", vocabulary, "the directory whose vocab.txt says which token a character is", required());
}

MotifReward::MotifReward(Options options)
    : options_(std::move(options)), vocabulary_(Vocabulary::load(options_.vocabulary)) {
  for (const auto& motif : options_.motifs) {
    std::vector<int64_t> ids;
    for (size_t at = 0, next; at < motif.size(); at = next) {
      next = std::min(motif.find('?', at), motif.size());
      for (int64_t id : vocabulary_.encode(motif.substr(at, next - at), "motif.motifs")) ids.push_back(id);
      if (next < motif.size()) ids.push_back(kAny), ++next;
    }
    if (std::all_of(ids.begin(), ids.end(), [](int64_t id) { return id == kAny; }))
      bad_input("motif.motifs", "a motif needs at least one character that is not ?; got '", motif, "'");
    motifs_.push_back(std::move(ids));
  }
  if (motifs_.empty()) bad_input("motif.motifs", "at least one motif is needed");
}

Rewards MotifReward::score(const Experience& batch) {
  Tensor x = sequences_of(batch, vocabulary_.size(), "motif");
  Tensor count = at::zeros({x.size(0)}, x.options());
  for (const auto& motif : motifs_) {
    int64_t places = x.size(1) - static_cast<int64_t>(motif.size()) + 1;
    if (places < 1) continue;
    Tensor here = at::ones({x.size(0), places}, x.options());
    for (size_t j = 0; j < motif.size(); ++j)
      if (motif[j] != kAny) here = here.mul(x.select(2, motif[j]).narrow(1, static_cast<int64_t>(j), places));
    count = count.add(here.sum(1));
  }
  return rewards_of(count, "motif");
}

void SequenceClassifierReward::Options::visit(OptionVisitor& v) {
  v.option("path", path, "a Hugging Face directory (EsmForSequenceClassification)", required());
  v.option("target", target, "the label whose score is the reward; empty where the model has one number");
  v.option("score", score, "what the model says; value: the output of a model with one number",
           one_of({"log_probability", "probability", "logit", "value"}));
}

SequenceClassifierReward::SequenceClassifierReward(Options options) : options_(std::move(options)) {
  const std::string& path = options_.path;
  if (!file_exists(path + "/config.json"))
    bad_input("sequence_classifier.path", "'", path, "' is not a Hugging Face model directory");
  model_ = make_sequence_classifier(read_text(path + "/config.json"),
                                    WeightSource(load_hf_tensors(path), at::kFloat, path), path);
  const auto& labels = model_->labels();
  if ((labels.size() == 1) != (options_.score == "value"))
    bad_input("sequence_classifier.score",
              "a model with one number goes with score: value, one with classes with the others; got ", options_.score,
              " and a model of ", labels.size());
  if (labels.size() > 1) label_ = label_index(labels, options_.target, "sequence_classifier.target");
}

Rewards SequenceClassifierReward::score(const Experience& batch) {
  Tensor logits = model_->logits(sequences_of(batch, model_->vocab_size(), "sequence_classifier"));
  if (options_.score == "log_probability") logits = logits.log_softmax(1);
  if (options_.score == "probability") logits = logits.softmax(1);
  return rewards_of(logits.select(1, label_), "sequence_classifier");
}

}  // namespace rft
