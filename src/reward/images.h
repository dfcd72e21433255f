#pragma once
/// What rewards on images share: the samples, pictures of the dataset, the result.
#include <string>
#include <vector>

#include "rft/core/options.h"
#include "rft/reward/reward_model.h"

namespace rft {

/// extra::image [B, 3, H, W], with its graph where it has one. Throws RunError where the samples are not images.
Tensor images_of(const Experience& batch, const std::string& name);

/// One picture a row, [C, H, W] in [0, 1]; undefined where `errors` says why.
struct RowImages {
  std::vector<Tensor> images;
  std::vector<std::string> errors;  ///< [B], "" where there is a picture
};

/// The column's pictures: the rows of context's tensor of that name [B, C, H, W], else the PNG files that the text
/// column names, relative ones under `directory`. Rows that name the same file share one Tensor.
RowImages column_images(const Experience& batch, const std::string& column, const std::string& directory);

/// The pictures as [B, C, H, W]; a row whose picture is missing, or not `height` x `width` pixels with as many channels
/// as the others, gets zeros and an error.
Tensor stacked(RowImages& rows, int64_t height, int64_t width, const std::string& column);

/// `value` [B] as a reward, with its graph; float32 (float64 stays). Rows with an error, and those that are not
/// finite, are NaN with a message and pass no gradient.
Rewards image_rewards(const std::string& name, const Tensor& value, std::vector<std::string> errors = {});

/// "directory", which goes with every column of file names.
void directory_option(OptionVisitor& v, std::string& directory);

}  // namespace rft
