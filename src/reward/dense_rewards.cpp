#include "rft/reward/dense_rewards.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

#include <algorithm>

#include "reward/images.h"
#include "reward/vision_model.h"
#include "rft/core/error.h"

namespace rft {
namespace {

constexpr int64_t kIgnored = 255;  ///< transformers' semantic_loss_ignore_index and ControlNet++'s background

void condition_options(OptionVisitor& v, std::string& column, std::string& directory) {
  v.option("column", column, "the condition: a ControlNet's, or the dataset's column with PNG files");
  directory_option(v, directory);
}

/// The pictures that the model itself looks at have three channels; a grey one stands for all of them.
Tensor as_picture(const Tensor& x) { return x.size(1) == 1 ? x.expand({-1, 3, -1, -1}) : x; }

/// part(first, count) of `batch_size` images after another, one below the other.
template <class Part>
Tensor in_parts(const Tensor& images, int64_t batch_size, const Part& part) {
  std::vector<Tensor> out;
  for (int64_t first = 0; first < images.size(0); first += batch_size)
    out.push_back(part(first, std::min(batch_size, images.size(0) - first)));
  return out.size() == 1 ? out[0] : at::cat(out);
}

Tensor enlarged(const Tensor& logits, const Tensor& like) {
  return at::upsample_bilinear2d(logits, like.sizes().slice(like.dim() - 2), /*align_corners=*/false);
}

/// x [B, H, W], not negative, over the largest value of each; a map of zeros stays one.
Tensor over_largest(const Tensor& x) { return x.div(x.amax({1, 2}, true).clamp_min(1e-6)); }

/// Notes `rule` for every row of `failed` [B] that has no error yet.
void note(const Tensor& failed, const std::string& rule, std::vector<std::string>& errors) {
  Tensor flags = failed.to(at::kCPU).contiguous();
  for (size_t i = 0; i < errors.size(); ++i)
    if (errors[i].empty() && flags.data_ptr<bool>()[i]) errors[i] = rule;
}

}  // namespace

void SegmentationConsistency::Options::visit(OptionVisitor& v) {
  model_options(v, path, "a Hugging Face directory (SegformerForSemanticSegmentation)", batch_size);
  condition_options(v, column, directory);
  v.option("condition", condition,
           "labels: a grey value is a class number, 255 counts for nothing; picture: the model finds its classes",
           one_of({"labels", "picture"}));
  v.option("reduce_labels", reduce_labels, "of labels, 0 counts for nothing and classes start at 1, as in ADE20K");
}

SegmentationConsistency::SegmentationConsistency(Options options)
    : options_(std::move(options)), model_(load_dense_predictor(options_.path, "segmentation_consistency.path")) {
  const size_t classes = model_->labels().size();
  if (classes < 2 || classes > kIgnored)
    bad_input("segmentation_consistency.path", "a segmentation model of 2 .. ", kIgnored, " classes is needed; '",
              options_.path, "' has ", classes ? cat(classes) : "a depth model");
}

Tensor SegmentationConsistency::classes(const Tensor& conditions, std::vector<std::string>& errors) const {
  at::NoGradGuard frozen;
  if (options_.condition == "picture")
    return in_parts(conditions, options_.batch_size, [&](int64_t first, int64_t count) {
      Tensor part = as_picture(conditions.narrow(0, first, count));
      return enlarged(model_->forward(part), part).argmax(1);
    });
  const std::string where = cat("column '", options_.column, "': ");
  Tensor grey = conditions.select(1, 0);
  note((conditions - grey.unsqueeze(1)).abs().amax({1, 2, 3}) > 0.5 / 255,
       where + "a label map must be grey, its value the class number", errors);
  Tensor out = grey.mul(255).round().to(at::kLong);
  if (options_.reduce_labels) out = at::where(out.eq(0).logical_or(out.eq(kIgnored)), kIgnored, out - 1);
  const auto count = static_cast<int64_t>(model_->labels().size());
  Tensor unknown = out.lt(0).logical_or(out.ge(count)).logical_and(out.ne(kIgnored));
  note(unknown.flatten(1).any(1),
       cat(where, "the model's classes are 0 .. ", count - 1,
           options_.reduce_labels ? ", one less than the labels" : "", "; the label map has another one"),
       errors);
  note(out.eq(kIgnored).flatten(1).all(1), where + "no pixel of the label map counts", errors);
  return out.masked_fill(unknown, kIgnored);
}

Rewards SegmentationConsistency::score(const Experience& batch) {
  Tensor images = images_of(batch, "segmentation_consistency").to(at::kFloat);
  RowImages rows = column_images(batch, options_.column, options_.directory);
  Tensor conditions = stacked(rows, images.size(2), images.size(3), options_.column);
  Tensor target = classes(conditions.to(images.device()), rows.errors);
  Tensor value = in_parts(images, options_.batch_size, [&](int64_t first, int64_t count) {
    Tensor wanted = target.narrow(0, first, count);
    Tensor logits = enlarged(model_->forward(images.narrow(0, first, count)), wanted);
    Tensor loss = at::cross_entropy_loss(logits, wanted, {}, at::Reduction::None, kIgnored);
    // A row without a pixel that counts has an error; its gradient must stay finite all the same.
    return loss.sum({1, 2}).div(wanted.ne(kIgnored).sum({1, 2}).clamp_min(1)).neg();
  });
  return image_rewards("segmentation_consistency", value, std::move(rows.errors));
}

void DepthConsistency::Options::visit(OptionVisitor& v) {
  model_options(v, path, "a Hugging Face directory (DPTForDepthEstimation, DepthAnythingForDepthEstimation)",
                batch_size);
  condition_options(v, column, directory);
  v.option("condition", condition, "depth: a depth map; picture: the model finds its depth",
           one_of({"depth", "picture"}));
}

DepthConsistency::DepthConsistency(Options options)
    : options_(std::move(options)), model_(load_dense_predictor(options_.path, "depth_consistency.path")) {
  if (!model_->labels().empty())
    bad_input("depth_consistency.path", "a depth model is needed; '", options_.path, "' has one of ",
              model_->labels().size(), " classes");
}

Tensor DepthConsistency::depths(const Tensor& images) const {
  Tensor maps = in_parts(images, options_.batch_size, [&](int64_t first, int64_t count) {
    Tensor part = model_->forward(as_picture(images.narrow(0, first, count))).unsqueeze(1);
    return at::_upsample_bilinear2d_aa(part, images.sizes().slice(2), /*align_corners=*/false).squeeze(1);
  });
  return over_largest(maps);
}

Rewards DepthConsistency::score(const Experience& batch) {
  Tensor images = images_of(batch, "depth_consistency").to(at::kFloat);
  RowImages rows = column_images(batch, options_.column, options_.directory);
  Tensor conditions = stacked(rows, images.size(2), images.size(3), options_.column).to(images.device());
  Tensor wanted;
  if (options_.condition == "picture") {
    at::NoGradGuard frozen;
    wanted = depths(conditions);
  } else {
    wanted = conditions.mean(1);
    note(wanted.amax({1, 2}) <= 0, cat("column '", options_.column, "': the depth map is black all over"), rows.errors);
    wanted = over_largest(wanted);
  }
  return image_rewards("depth_consistency", (depths(images) - wanted).square().mean({1, 2}).neg(),
                       std::move(rows.errors));
}

}  // namespace rft
