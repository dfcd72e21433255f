#pragma once
/// A reward written as a function, for programs that link rft.
#include <functional>
#include <string>

#include "rft/reward/reward_model.h"

namespace rft {

/// One row as a reward function sees it.
struct Completion {
  const std::string& prompt;
  const std::string& completion;
  const Experience& batch;
  int64_t row;
  /// The dataset's column as text. Throws RunError where there is none.
  const std::string& column(const std::string& name) const { return batch.context.text(name).at(row); }
  /// Number of tokens the policy made.
  int64_t tokens() const;
};

/// Registers `score` as a reward type without options, for recipes of this program. May be called from several threads
/// at once. A call that throws counts as a reward that could not be computed. `per_row`: false where `score` reads
/// other rows of the batch; of several processes each then scores all rows, not its share alone.
void add_reward(const std::string& name, const std::string& summary, std::function<double(const Completion&)> score,
                bool per_row = true);

}  // namespace rft
