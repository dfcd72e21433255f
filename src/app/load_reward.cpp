#include "app/load_reward.h"

#include "rft/core/error.h"
#include "rft/core/registry.h"
#include "rft/train/recipe.h"

namespace rft::app {

std::unique_ptr<RewardModel> load_reward(const std::string& file) {
  Config config = Config::load(file);
  const Config* inside = config.find("reward");
  Config reward = inside ? *inside : config;
  if (reward.items().empty()) bad_input(file, "must hold rewards: one block {type: ...}, or a list of them");
  bool one = reward.is_map() && registry<RewardModel>().entry_of(reward).name != "weighted_sum";
  Config list = Config::list();
  if (one) list.append(reward);
  return registry<RewardModel>().make(reward_as_sum(one ? list : reward));
}

}  // namespace rft::app
