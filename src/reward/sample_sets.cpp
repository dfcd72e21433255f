#include "reward/sample_sets.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

#include <algorithm>
#include <filesystem>
#include <limits>
#include <map>

#include "reward/frechet_distance.h"
#include "reward/images.h"
#include "reward/vision_model.h"
#include "rft/core/error.h"
#include "rft/io/files.h"
#include "rft/io/image.h"
#include "rft/io/safetensors.h"

namespace rft {
namespace {

namespace fs = std::filesystem;

/// A covariance has the square of so many numbers: 128 MiB.
constexpr int64_t kMaxWidth = 4096;

Tensor directory_features(const std::string& path, const std::string& where,
                          const std::function<Tensor(const Tensor&)>& features) {
  std::vector<std::string> files;
  for (const auto& entry : fs::directory_iterator(path))
    if (entry.path().extension() == ".png") files.push_back(entry.path().string());
  std::sort(files.begin(), files.end());
  std::vector<Tensor> rows;
  for (const auto& file : files) {
    rows.push_back(features(read_png(file).unsqueeze(0)));
    if (rows.back().size(1) != rows.front().size(1))
      bad_input(where, "without an encoder all reference pictures must have one size; ", file, " differs from ",
                files.front());
  }
  if (rows.empty()) bad_input(where, "there are no .png files in ", path);
  return at::cat(rows);
}

Gaussian checked(Gaussian gaussian, const std::string& path) {
  const int64_t width = gaussian.mean.size(0);
  if (gaussian.covariance.sizes() != at::IntArrayRef{width, width})
    bad_input(path, "\"mean\" must be [D] and \"covariance\" [D, D]; they are ", gaussian.mean.sizes(), " and ",
              gaussian.covariance.sizes());
  if (!gaussian.mean.isfinite().all().item<bool>() || !gaussian.covariance.isfinite().all().item<bool>())
    bad_input(path, "the reference has numbers that are not finite");
  return gaussian;
}

Gaussian checked_gaussian(const Tensor& features, const std::string& path) {
  if (features.dim() != 2 || features.size(0) < 2)
    bad_input(path, "the reference must have at least two feature vectors, [N, D]; got ", features.sizes());
  if (features.size(1) > kMaxWidth)
    bad_input(path, "features may have at most ", kMaxWidth, " numbers, got ", features.size(1),
              "; use an encoder (path)");
  return checked(gaussian_of(features), path);
}

std::map<int64_t, std::vector<int64_t>> sets_of(const Experience& batch, int64_t rows, bool by_group) {
  std::map<int64_t, std::vector<int64_t>> out;
  bool grouped = by_group && batch.group.defined();
  for (int64_t i = 0; i < rows; ++i) out[grouped ? batch.group[i].item<int64_t>() : 0].push_back(i);
  return out;
}

}  // namespace

std::unique_ptr<VisionEncoder> optional_encoder(const std::string& path, const std::string& where) {
  return path.empty() ? nullptr : load_vision_encoder(path, where);
}

Tensor image_features(const VisionEncoder* encoder, const Tensor& images, int64_t batch_size) {
  at::NoGradGuard no_grad;
  return encoder ? encode(*encoder, images, batch_size) : images.detach().to(at::kFloat).flatten(1);
}

Gaussian load_reference(const std::string& path, const std::string& where,
                        const std::function<Tensor(const Tensor&)>& features) {
  if (directory_exists(path)) return checked_gaussian(directory_features(path, where, features), path);
  if (!file_exists(path))
    bad_input(where, "a directory of PNG files or a safetensors file is needed; there is no '", path, "'");
  auto tensors = load_safetensors(path).tensors;
  if (tensors.count("features")) return checked_gaussian(tensors["features"], path);
  if (!tensors.count("mean") || !tensors.count("covariance") || tensors["mean"].dim() != 1)
    bad_input(path, "the file must have \"features\" [N, D], or \"mean\" [D] and \"covariance\" [D, D]");
  return checked({tensors["mean"].to(at::kDouble), tensors["covariance"].to(at::kDouble)}, path);
}

void check_width(const Tensor& features, const Gaussian& reference, const std::string& path) {
  if (features.size(-1) != reference.mean.size(0))
    bad_input(path, "the reference has vectors of ", reference.mean.size(0), " numbers, but the samples of ",
              features.size(-1), "; both must come from the same encoder or picture size");
}

Rewards score_sets(const Experience& batch, const std::string& name, const Tensor& features, bool by_group,
                   int64_t smallest, const std::function<std::vector<double>(const Tensor&)>& gains) {
  const int64_t rows = features.size(0);
  Tensor value = at::full({rows}, std::numeric_limits<float>::quiet_NaN()), usable = features.isfinite().all(1);
  std::vector<std::string> errors(static_cast<size_t>(rows));
  for (auto& [group, set] : sets_of(batch, rows, by_group)) {
    std::vector<int64_t> kept;
    for (int64_t i : set)
      if (usable[i].item<bool>()) kept.push_back(i);
    bool enough = static_cast<int64_t>(kept.size()) >= smallest;
    for (int64_t i : enough ? std::vector<int64_t>{} : set)
      errors[static_cast<size_t>(i)] = cat("a set of at least ", smallest, " pictures is needed; this ",
                                           by_group ? "group" : "batch", " has ", kept.size());
    if (!enough) continue;
    auto given = gains(features.index_select(0, at::tensor(kept, at::kLong)));
    for (size_t k = 0; k < kept.size(); ++k) value[kept[k]] = given[k];
  }
  return image_rewards(name, value, std::move(errors));
}

void encoder_options(OptionVisitor& v, std::string& path, int64_t& batch_size) {
  v.option("path", path, "a Hugging Face directory (CLIP or ViT) that makes the features; empty: the pixels");
  v.option("batch_size", batch_size, "pictures at a time; fewer take less memory", at_least(1).in("images"));
}

void reference_option(OptionVisitor& v, std::string& reference) {
  v.option("reference", reference,
           "a directory of PNG files, or a safetensors file with features [N, D], or mean [D] and covariance [D, D]",
           required());
}

void over_option(OptionVisitor& v, std::string& over) {
  v.option("over", over, "the set that a row belongs to: all rows, or those that answer the same context",
           one_of({"batch", "group"}));
}

}  // namespace rft
