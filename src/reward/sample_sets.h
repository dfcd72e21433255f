#pragma once
/// What rewards of distributions share: features, reference sets, sets of rows.
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "rft/reward/distribution_rewards.h"

namespace rft {

/// The encoder of `path`, or null where there is none.
std::unique_ptr<VisionEncoder> optional_encoder(const std::string& path, const std::string& where);
/// images [N, 3, H, W] -> [N, D] float32: the encoder's pooled features, or the pixels. Without gradients.
Tensor image_features(const VisionEncoder* encoder, const Tensor& images, int64_t batch_size);

/// The reference's Gaussian: of the PNG files of a directory, whose vectors `features` makes of an image [1, 3, H, W],
/// [N, D]; or of a safetensors file with "features" [N, D], or "mean" [D] and "covariance" [D, D]. Throws UserError
/// naming `where` or the file.
Gaussian load_reference(const std::string& path, const std::string& where,
                        const std::function<Tensor(const Tensor&)>& features);
/// Throws UserError where the samples' features do not have the reference's width.
void check_width(const Tensor& features, const Gaussian& reference, const std::string& path);

/// Rewards of rows [N, D] in sets: the whole batch, or each group. `gains` gives each row of a set of at least
/// `smallest` its reward; rows that are not finite, and those of smaller sets, are NaN with a message.
Rewards score_sets(const Experience& batch, const std::string& name, const Tensor& features, bool by_group,
                   int64_t smallest, const std::function<std::vector<double>(const Tensor&)>& gains);

/// "path" and "batch_size" of an encoder that may be left out.
void encoder_options(OptionVisitor& v, std::string& path, int64_t& batch_size);
void reference_option(OptionVisitor& v, std::string& reference);
void over_option(OptionVisitor& v, std::string& over);

}  // namespace rft
