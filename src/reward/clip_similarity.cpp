#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

#include <map>

#include "reward/images.h"
#include "reward/vision_model.h"
#include "rft/core/error.h"
#include "rft/core/extra.h"
#include "rft/reward/vision_rewards.h"

namespace rft {
namespace {

constexpr char kClipSimilarity[] = "clip_similarity", kPath[] = "clip_similarity.path";

std::unique_ptr<TextEncoder> load_text_encoder(const std::string& directory) {
  return make_text_encoder(model_config(directory, kPath),
                           WeightSource(tower_tensors(directory, "text"), at::kFloat, directory), directory);
}

}  // namespace

void ClipSimilarity::Options::visit(OptionVisitor& v) {
  model_options(v, path, "a Hugging Face directory (CLIPModel with its tokenizer)", batch_size);
  v.option("column", column, "the text that the picture should show");
}

ClipSimilarity::ClipSimilarity(Options options)
    : options_(std::move(options)),
      vision_(load_vision_encoder(options_.path, kPath)),
      text_(load_text_encoder(options_.path)),
      tokenizer_(Tokenizer::load(options_.path)) {}

std::vector<std::string> ClipSimilarity::columns() const {
  // The prompt is a context's own text: a policy may make it of other columns.
  return options_.column == extra::prompt ? std::vector<std::string>{} : std::vector<std::string>{options_.column};
}

Tensor ClipSimilarity::embed(const std::string& text) const {
  at::NoGradGuard no_grad;
  auto ids = tokenizer_.encode(text);
  if (auto limit = static_cast<size_t>(text_->max_positions()); ids.size() > limit) {
    int64_t last = ids.back();  // the end token, whose place the embedding is read from
    ids.resize(limit), ids.back() = last;
  }
  return unit_rows(text_->forward(at::tensor(ids, at::kLong).unsqueeze(0)).pooled.to(at::kFloat));
}

Rewards ClipSimilarity::score(const Experience& batch) {
  Tensor images = images_of(batch, kClipSimilarity);
  const auto& texts = batch.context.text(options_.column);
  std::map<std::string, Tensor> known;
  std::vector<Tensor> wanted;
  std::vector<std::string> errors;
  for (const auto& text : texts) {
    if (!known.count(text)) known[text] = embed(text);
    wanted.push_back(known[text]);
    errors.push_back(text.empty() ? cat("column '", options_.column, "': this row has no text") : "");
  }
  Tensor cosine = encode_unit(*vision_, images, options_.batch_size).mul(at::cat(wanted)).sum(1);
  return image_rewards(kClipSimilarity, cosine.mul(100), std::move(errors));
}

}  // namespace rft
