#pragma once
/// Labels of the models that rewards are made of.
#include <cstdint>
#include <string>
#include <vector>

namespace rft {

/// The place of `label` among a model's. Throws UserError naming `option`, with the nearest label, where it is not one.
int64_t label_index(const std::vector<std::string>& labels, const std::string& label, const std::string& option);

}  // namespace rft
