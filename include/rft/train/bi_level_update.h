#pragma once
/// What a second batch says of the weights in an objective's loss.
#include <vector>

#include "rft/objective/bi_level.h"
#include "rft/train/updater.h"

namespace rft {

/// [outer_weights()]: slope k = <gradient of outer_loss on `second`, gradient of derivative(k) on `batch`>, at the
/// weights as they are; these and the optimizer's moments stay. Empty, with the reason in `problem`, where a loss is
/// not finite. One gradient is kept beside the optimizer's own. Throws UserError where the optimizer has gradients in
/// parts.
std::vector<double> outer_slopes(Policy& policy, Objective& objective, BiLevel& outer, Optimizer& optimizer,
                                 Experience& batch, Experience& second, const Needs& needs,
                                 const UpdateOptions& options, std::string& problem);

}  // namespace rft
