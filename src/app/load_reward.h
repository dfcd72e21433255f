#pragma once
#include <memory>
#include <string>

#include "rft/reward/reward_model.h"

namespace rft::app {

/// The rewards of a YAML file: its `reward:` block, or the file itself; a list, or one block as a list of one. Throws
/// UserError.
std::unique_ptr<RewardModel> load_reward(const std::string& file);

}  // namespace rft::app
