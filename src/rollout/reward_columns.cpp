#include "rft/rollout/reward_columns.h"

#include <ATen/ATen.h>

#include "rft/core/error.h"
#include "rft/core/extra.h"
#include "rft/core/text.h"

namespace rft {
namespace {

constexpr char kErrors[] = "reward_errors";

std::string component_column(size_t k) { return cat("component.", k); }

void check_rows(const std::string& name, const Tensor& value, int64_t rows) {
  if (value.defined() && value.dim() >= 1 && value.size(0) == rows) return;
  run_failed("reward", "'", name, "' must give one value a row, ", rows, " in all; got ",
             value.defined() ? value.numel() : 0);
}

}  // namespace

void check_rewards(const Rewards& rewards, int64_t rows) {
  check_rows("the combined reward", rewards.value, rows);
  for (const auto& component : rewards.components) check_rows(component.name, component.value, rows);
}

void add_reward_columns(Experience& rows, const Rewards& rewards) {
  check_rewards(rewards, rows.rows());
  const auto count = static_cast<size_t>(rows.rows());
  rows.reward = rewards.value;
  std::vector<std::string> names, errors = rewards.errors;
  std::vector<double> weights;
  for (const auto& component : rewards.components) {
    rows.extra.set(component_column(names.size()), component.value);
    names.push_back(component.name), weights.push_back(component.weight);
  }
  errors.resize(count);
  rows.extra.set_text(kErrors, std::move(errors));
  rows.extra.set_text(extra::reward_names, std::vector<std::string>(count, join(names, ",")));
  rows.extra.set(extra::reward_weights, at::tensor(weights, at::kDouble).expand({rows.rows(), -1}));
}

bool has_reward_columns(const Experience& rows) { return rows.extra.has_text(kErrors); }

Rewards take_reward_columns(Experience& rows) {
  Rewards out;
  out.value = rows.reward;
  out.errors = rows.extra.text(kErrors);
  const Tensor weights = rows.extra.tensor(extra::reward_weights);
  const auto names = split(rows.extra.text(extra::reward_names).at(0), ',');
  for (int64_t k = 0; k < weights.size(1); ++k) {
    const std::string column = component_column(static_cast<size_t>(k));
    out.components.push_back(
        {names.at(static_cast<size_t>(k)), rows.extra.tensor(column), weights[0][k].item<double>()});
    rows.extra.erase(column);
  }
  rows.reward = Tensor();
  for (const char* column : {kErrors, extra::reward_names, extra::reward_weights}) rows.extra.erase(column);
  return out;
}

}  // namespace rft
