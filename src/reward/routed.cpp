#include "rft/reward/routed.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <limits>

#include "rft/core/error.h"
#include "rft/core/registry.h"
#include "rft/core/text.h"

namespace rft {
namespace {

constexpr float kMissing = std::numeric_limits<float>::quiet_NaN();

struct RouteOptions {
  std::string of;
  void visit(OptionVisitor& v) { v.option("for", of, "the column's text in its rows", required()); }
};

/// One value a row of `rows`; what goes wrong is these rows' failure.
Rewards of_own_rows(RewardModel& model, const Experience& rows, const std::string& name) {
  try {
    Rewards own = model.score(rows);
    if (!own.value.defined() || own.value.dim() != 1 || own.value.size(0) != rows.rows())
      run_failed("reward", "routed's '", name, "' must give one value a row, ", rows.rows(), " in all");
    return own;
  } catch (const std::exception& error) {
    Rewards failed;
    failed.value = at::full({rows.rows()}, kMissing, at::kFloat);
    failed.errors.assign(static_cast<size_t>(rows.rows()), error.what());
    return failed;
  }
}

}  // namespace

void Routed::Options::visit(OptionVisitor& v) {
  v.option("column", column, "the dataset's column that says which of the rewards a row has");
  v.option("rewards", rewards, "blocks {for: TEXT, type, ...}: the rewards, each with the column's text in its rows",
           required());
}

Routed::Routed(const Options& options) : column_(options.column) {
  if (options.rewards.empty()) bad_input("reward.rewards", "the list of rewards is empty");
  for (const Config& block : options.rewards) {
    RouteOptions route;
    OptionReader reader(block);
    route.visit(reader);
    if (route.of.find(',') != std::string::npos)
      bad_input(block.find("for")->place(), "a name has no commas; got '", route.of, "'");
    auto [place, fresh] = routes_.try_emplace(route.of, registry<RewardModel>().make(block, {"for"}));
    if (!fresh) bad_input(block.find("for")->place(), "there is a reward for '", route.of, "' already");
  }
}

Rewards Routed::score(const Experience& batch) {
  const int64_t rows = batch.rows();
  const auto& of = batch.context.text(column_);
  std::vector<std::string> known;
  std::map<std::string, std::vector<int64_t>> mine;  // each reward's rows
  for (const auto& [name, model] : routes_) known.push_back(name);
  Rewards out;
  out.value = at::full({rows}, kMissing, at::kFloat), out.errors.assign(static_cast<size_t>(rows), "");
  for (int64_t i = 0; i < rows; ++i) {
    const std::string& name = of[static_cast<size_t>(i)];
    if (routes_.contains(name))
      mine[name].push_back(i);
    else
      out.errors[static_cast<size_t>(i)] =
          cat("`", column_, "` is '", name, "', for which there is no reward", suggestion(name, known));
  }
  out.components = {{"routed", out.value, 1}};
  for (const auto& [name, model] : routes_) {
    Tensor values = at::full({rows}, kMissing, at::kFloat);
    if (const auto& index = mine[name]; !index.empty()) {
      const Tensor places = at::tensor(index, at::kLong);
      const Rewards own = of_own_rows(*model, batch.select(places), name);
      values.index_copy_(0, places, own.value.to(at::kFloat));
      out.value.index_copy_(0, places, own.value.to(at::kFloat));
      for (size_t k = 0; k < own.errors.size(); ++k) out.errors[static_cast<size_t>(index[k])] = own.errors[k];
    }
    out.components.push_back({"routed/" + name, values, 0});  // also without rows: parts of a batch have the same ones
  }
  return out;
}

bool Routed::per_row() const {
  return std::all_of(routes_.begin(), routes_.end(), [](const auto& route) { return route.second->per_row(); });
}

State Routed::state() const {
  State out;
  for (const auto& [name, model] : routes_)
    for (const auto& [key, value] : model->state()) out[name + "." + key] = value;
  return out;
}

void Routed::load_state(const State& state) {
  for (const auto& [name, model] : routes_) {
    State own;
    for (const auto& [key, value] : state)
      if (key.starts_with(name + ".")) own[key.substr(name.size() + 1)] = value;
    model->load_state(own);
  }
}

}  // namespace rft
