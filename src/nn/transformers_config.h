#pragma once
/// What every config.json of transformers may carry.
#include "core/model_config.h"
#include "rft/nn/weights.h"

namespace rft {

/// Names the fields of transformers' PretrainedConfig that an encoder's forward pass doesn't depend on: those of text
/// generation, of training heads, and of how outputs are returned. Older versions write them all into each part.
void ignore_general_fields(ModelConfig& config);
/// Their names.
const std::vector<const char*>& general_fields();

/// A norm whose tensors transformers' versions write as NAME.weight and NAME.bias, or NAME.gamma and NAME.beta.
Norm norm_of_either_name(const WeightSource& source, const std::string& name, int64_t width);

/// The labels of a classification head: id2label's names in order, or "LABEL_0", ... for num_labels. Throws UserError
/// where there is none, or the ids are not 0, 1, 2, ...
std::vector<std::string> label_names(ModelConfig& config);

}  // namespace rft
