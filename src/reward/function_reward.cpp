#include "rft/reward/function_reward.h"

#include <ATen/ATen.h>

#include "reward/per_row.h"
#include "rft/core/extra.h"
#include "rft/core/registry.h"

namespace rft {
namespace {

class FunctionReward : public RewardModel {
 public:
  FunctionReward(std::string name, std::function<double(const Completion&)> score, bool per_row)
      : name_(std::move(name)), score_(std::move(score)), per_row_(per_row) {}
  Rewards score(const Experience& batch) override {
    const auto &prompts = batch.context.text(extra::prompt), &completions = batch.context.text(extra::completion);
    return score_rows(batch, name_, [&](int64_t row) {
      return score_(Completion{prompts.at(row), completions.at(row), batch, row});
    });
  }
  bool per_row() const override { return per_row_; }

 private:
  std::string name_;
  std::function<double(const Completion&)> score_;
  bool per_row_;
};

}  // namespace

int64_t Completion::tokens() const { return batch.mask.defined() ? batch.mask[row].sum().item<int64_t>() : 0; }

void add_reward(const std::string& name, const std::string& summary, std::function<double(const Completion&)> score,
                bool per_row) {
  Registry<RewardModel>::Entry entry;
  entry.name = name, entry.summary = summary, entry.source = "this program";
  entry.visit = [](OptionVisitor&) {};
  entry.make = [name, score = std::move(score), per_row](OptionReader& reader) -> std::unique_ptr<RewardModel> {
    reader.finish();
    return std::make_unique<FunctionReward>(name, score, per_row);
  };
  entry.resolve = [name](OptionReader& reader) {
    reader.finish();
    Config resolved = Config::map();
    resolved.set("type", Config::scalar(name));
    return resolved;
  };
  registry<RewardModel>().add(std::move(entry));
}

}  // namespace rft
