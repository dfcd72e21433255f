#pragma once
/// Rewards as columns of the rows that they are of, so that they are divided, joined, sent and saved with them.
#include "rft/reward/reward_model.h"

namespace rft {

/// Throws RunError naming a reward that does not give one value a row.
void check_rewards(const Rewards& rewards, int64_t rows);
/// Sets `rows`' reward and columns of extra to what `rewards` says of them. Throws as check_rewards() does.
void add_reward_columns(Experience& rows, const Rewards& rewards);
bool has_reward_columns(const Experience& rows);
/// The rewards that add_reward_columns() put there, whose columns go.
Rewards take_reward_columns(Experience& rows);

}  // namespace rft
