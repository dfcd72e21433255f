#pragma once
/// Rewards that look at one row at a time.
#include <functional>
#include <string>

#include "rft/reward/reward_model.h"

namespace rft {

/// Calls `score` for every row; a row whose call throws, or gives no finite number, is NaN with a message. The result's
/// only component is itself.
Rewards score_rows(const Experience& batch, const std::string& name, const std::function<double(int64_t row)>& score);

}  // namespace rft
