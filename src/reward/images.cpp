#include "reward/images.h"

#include <ATen/ATen.h>

#include <limits>
#include <map>

#include "rft/core/error.h"
#include "rft/core/extra.h"
#include "rft/io/image.h"

namespace rft {
namespace {

std::string full_path(const std::string& directory, const std::string& path) {
  return directory.empty() || path.front() == '/' ? path : directory + "/" + path;
}

RowImages tensor_rows(const Tensor& tensor, const std::string& column) {
  if (tensor.dim() != 4) run_failed(column, "pictures are [B, C, H, W]; the context's tensor is ", cat(tensor.sizes()));
  RowImages out{tensor.unbind(0), {}};
  out.errors.resize(out.images.size());
  return out;
}

}  // namespace

Tensor images_of(const Experience& batch, const std::string& name) {
  Tensor images = batch.extra.find(extra::image);
  if (!images.defined())
    run_failed(name, "this reward looks at pictures, but these samples are none (there is no extra '", extra::image,
               "'); it goes with an image policy");
  if (images.dim() != 4 || images.size(1) != 3 || !images.is_floating_point())
    run_failed(name, "pictures are [B, 3, H, W] of floating point; got ", cat(images.sizes()), " of ",
               cat(images.scalar_type()));
  return images;
}

RowImages column_images(const Experience& batch, const std::string& column, const std::string& directory) {
  if (batch.context.has(column)) return tensor_rows(batch.context.tensor(column), column);
  const auto& paths = batch.context.text(column);
  RowImages out{std::vector<Tensor>(paths.size()), std::vector<std::string>(paths.size())};
  std::map<std::string, size_t> first;
  for (size_t i = 0; i < paths.size(); ++i) {
    if (auto [known, is_new] = first.emplace(paths[i], i); !is_new) {
      out.images[i] = out.images[known->second], out.errors[i] = out.errors[known->second];
      continue;
    }
    try {
      if (paths[i].empty()) bad_input(column, "this row has no file name");
      out.images[i] = read_png(full_path(directory, paths[i]));
    } catch (const std::exception& error) {
      out.errors[i] = cat("column '", column, "': ", error.what());
    }
  }
  return out;
}

Tensor stacked(RowImages& rows, int64_t height, int64_t width, const std::string& column) {
  int64_t channels = 3;
  for (const Tensor& image : rows.images)
    if (image.defined()) channels = image.size(0);
  std::vector<Tensor> out;
  for (size_t i = 0; i < rows.images.size(); ++i) {
    const Tensor& image = rows.images[i];
    bool fits = image.defined() && image.sizes() == at::IntArrayRef{channels, height, width};
    if (image.defined() && !fits)
      rows.errors[i] = cat("column '", column, "': the picture must be ", width, " x ", height,
                           " pixels, as the samples are; it is ", image.size(2), " x ", image.size(1));
    out.push_back(fits ? image.to(at::kFloat) : at::zeros({channels, height, width}));
  }
  return at::stack(out);
}

Rewards image_rewards(const std::string& name, const Tensor& value, std::vector<std::string> errors) {
  errors.resize(static_cast<size_t>(value.size(0)));
  Tensor finite = value.detach().isfinite().to(at::kCPU), failed = at::zeros(value.sizes(), at::kBool);
  for (size_t i = 0; i < errors.size(); ++i) {
    auto row = static_cast<int64_t>(i);
    if (errors[i].empty() && !finite.data_ptr<bool>()[row]) errors[i] = "the reward of this picture is not finite";
    failed.data_ptr<bool>()[row] = !errors[i].empty();
  }
  Rewards out;
  out.value = value.scalar_type() == at::kDouble ? value : value.to(at::kFloat);
  out.value = out.value.masked_fill(failed.to(value.device()), std::numeric_limits<float>::quiet_NaN());
  out.errors = std::move(errors);
  out.components = {{name, out.value, 1.0}};
  return out;
}

void directory_option(OptionVisitor& v, std::string& directory) {
  v.option("directory", directory,
           "where the column's relative file names begin; empty: the directory in which the program runs");
}

}  // namespace rft
