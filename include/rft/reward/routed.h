#pragma once
/// One of several rewards for each row.
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "rft/core/options.h"
#include "rft/reward/reward_model.h"

namespace rft {

/// Of several rewards each row has the one that `column` names, and no other looks at it: reward models of their own
/// for unlike tasks, which disturb each other in one (the outer layer of DMoERM, Quan 2024, arXiv:2403.01197, a sparse
/// mixture of experts whose router is what the dataset says). A row whose column names none is NaN with a message.
/// Components: the whole, and routed/NAME, each reward's own rows.
class Routed : public RewardModel {
 public:
  struct Options {
    std::string column = "task";
    std::vector<Config> rewards;
    void visit(OptionVisitor& v);
  };
  /// Throws UserError where a name comes twice, or there is no reward.
  explicit Routed(const Options& options);
  Rewards score(const Experience& batch) override;
  bool per_row() const override;
  /// `column`. What a reward reads besides need not be there in rows of others.
  std::vector<std::string> columns() const override { return {column_}; }
  State state() const override;
  void load_state(const State& state) override;

 private:
  std::string column_;
  std::map<std::string, std::unique_ptr<RewardModel>> routes_;
};

}  // namespace rft
