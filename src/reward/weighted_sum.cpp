#include "rft/reward/weighted_sum.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <set>

#include "rft/core/registry.h"

namespace rft {
namespace {

struct PartOptions {
  double weight = 1;
  std::string name;
  void visit(OptionVisitor& v) {
    v.option("weight", weight, "factor of this reward");
    v.option("name", name, "its name in metrics");
  }
};

/// weight and name of a part; its other keys are the reward's own.
PartOptions part_options(const Config& block) {
  PartOptions options;
  OptionReader reader(block);
  options.visit(reader);
  if (!std::isfinite(options.weight))
    bad_input(block.find("weight")->place(), "must be finite; got ", block.find("weight")->text());
  return options;
}

std::string unique_name(const std::string& wanted, std::set<std::string>& taken) {
  std::string name = wanted;
  for (int i = 2; !taken.insert(name).second; ++i) name = wanted + "_" + std::to_string(i);
  return name;
}

Rewards failed(int64_t rows, const std::string& message) {
  Rewards out;
  out.value = at::full({rows}, std::numeric_limits<float>::quiet_NaN(), at::kFloat);
  out.errors.assign(rows, message);
  return out;
}

/// [B] as [B, T], at each row's last decision.
Tensor at_last(const Tensor& value, const Tensor& mask) {
  Tensor later = mask.to(at::kLong).flip({1}).cumsum(1).flip({1});  // decisions from here on
  Tensor last = mask.logical_and(later.eq(1));
  return at::where(last, value.unsqueeze(1), at::zeros({}, value.options()));
}

/// What a part reports beside its value, under the part's own name.
void add_beside(std::vector<Rewards::Component>& into, const Rewards& own, const std::string& name) {
  for (size_t k = 1; k < own.components.size(); ++k) {
    const Rewards::Component& one = own.components[k];
    const std::string& of = own.components[0].name;
    if (one.weight == 0 && one.name.starts_with(of + "/"))
      into.push_back({name + one.name.substr(of.size()), one.value, 0.0});
  }
}

void add_errors(std::vector<std::string>& into, const std::vector<std::string>& errors, const std::string& name) {
  for (size_t i = 0; i < errors.size(); ++i)
    if (!errors[i].empty()) into.at(i) += (into[i].empty() ? "" : "; ") + name + ": " + errors[i];
}

}  // namespace

void WeightedSum::Options::visit(OptionVisitor& v) {
  v.option("rewards", rewards, "blocks {type, weight: 1, name, ...}; each is scored and reported by itself",
           required());
  v.option("mean", mean,
           "how they are combined: the weighted sum, the weighted harmonic mean of positive rewards, or as an ensemble "
           "the least of them, or their mean less their variance",
           one_of({"arithmetic", "harmonic", "worst_case", "uncertainty_weighted"}));
  v.option("uncertainty_weight", uncertainty_weight, "uncertainty_weighted: the weight of the variance", at_least(0));
}

WeightedSum::WeightedSum(const Options& options)
    : mean_(options.mean), uncertainty_weight_(options.uncertainty_weight) {
  if (options.rewards.empty()) bad_input("reward", "the list of rewards is empty");
  std::set<std::string> taken;
  for (const auto& block : options.rewards) {
    PartOptions part = part_options(block);
    auto model = registry<RewardModel>().make(block, {"weight", "name"});
    std::string name = part.name.empty() ? block.find("type")->text() : part.name;
    if (name.find(',') != std::string::npos)
      bad_input(block.find("name")->place(), "a name has no commas; got '", name, "'");
    if (mean_ == "harmonic" && part.weight < 0)
      bad_input(block.find("weight")->place(), "a harmonic mean has no negative weights; got ", part.weight);
    parts_.push_back({unique_name(name, taken), part.weight, std::move(model)});
  }
}

void WeightedSum::combine_harmonic(Rewards& out) const {
  double weights = 0;
  Tensor sum = at::zeros_like(out.value), good = at::ones(out.value.sizes(), at::kBool);
  for (const auto& part : out.components) {
    if (part.weight == 0) continue;
    Tensor positive = part.value.gt(0);
    good = good.logical_and(positive), weights += part.weight;
    sum = sum.add(at::where(positive, part.value, at::ones_like(part.value)).reciprocal(), part.weight);
    for (int64_t i = 0; i < positive.size(0); ++i)
      if (!positive[i].item<bool>() && out.errors[static_cast<size_t>(i)].empty())
        out.errors[static_cast<size_t>(i)] = part.name + ": a harmonic mean is of rewards above 0";
  }
  out.value = sum.reciprocal().mul(weights).masked_fill(good.logical_not(), std::numeric_limits<float>::quiet_NaN());
}

void WeightedSum::combine_ensemble(Rewards& out) const {
  std::vector<Tensor> values;
  for (const auto& part : out.components) values.push_back(part.value.mul(part.weight));
  Tensor all = at::stack(values);  // [K, B]; NaN goes through
  if (mean_ == "worst_case")
    out.value = std::get<0>(all.min(0));
  else
    out.value = all.mean(0).sub(all.var(0, /*unbiased=*/false), uncertainty_weight_);
}

/// A part's own values [B], or [B, T] where it rewards each decision; what goes wrong is its rows' failure.
Rewards WeightedSum::score_part(const Part& part, const Experience& batch) const {
  int64_t rows = batch.rows();
  try {
    Rewards own = part.model->score(batch);
    bool of_rows = own.value.defined() && own.value.dim() == 1 && own.value.size(0) == rows;
    bool of_steps = own.value.defined() && own.value.dim() == 2 && batch.mask.defined() &&
                    own.value.sizes() == batch.mask.sizes() && mean_ == "arithmetic";
    if (!of_rows && !of_steps)
      run_failed("reward", "'", part.name, "' must give one value a row, ", rows, " in all",
                 mean_ == "arithmetic" ? ", or one a decision" : "", "; got ",
                 own.value.defined() ? own.value.numel() : 0);
    return own;
  } catch (const std::exception& error) {
    return failed(rows, error.what());
  }
}

Rewards WeightedSum::score(const Experience& batch) {
  int64_t rows = batch.rows();
  Rewards out;
  out.errors.assign(rows, "");
  std::vector<Rewards::Component> beside;
  auto sum = at::zeros({rows}, at::kFloat), known = at::zeros({rows}, at::kBool);
  for (auto& part : parts_) {
    Rewards own = score_part(part, batch);
    Tensor value = own.value.to(at::kFloat), each = value.nan_to_num(0.0);
    if (value.dim() == 2) {
      Tensor lost = value.isnan().any(1, /*keepdim=*/true);
      each = each.mul(batch.mask).masked_fill(lost, 0);
      value = each.sum(1).masked_fill(lost.squeeze(1), std::numeric_limits<float>::quiet_NaN());
    }
    if (each.dim() < sum.dim()) each = at_last(each, batch.mask);
    if (each.dim() > sum.dim()) sum = at_last(sum, batch.mask);
    sum = sum.add(each, part.weight);
    known = known.logical_or(value.isnan().logical_not());
    add_errors(out.errors, own.errors, part.name);
    out.components.push_back({part.name, value, part.weight});
    add_beside(beside, own, part.name);
  }
  Tensor unknown = known.logical_not();
  out.value = sum.masked_fill(sum.dim() == 2 ? unknown.unsqueeze(1) : unknown, std::numeric_limits<float>::quiet_NaN());
  if (mean_ == "harmonic") combine_harmonic(out);
  if (mean_ == "worst_case" || mean_ == "uncertainty_weighted") combine_ensemble(out);
  out.components.insert(out.components.end(), beside.begin(), beside.end());
  return out;
}

bool WeightedSum::per_row() const {
  return std::all_of(parts_.begin(), parts_.end(), [](const Part& part) { return part.model->per_row(); });
}

std::vector<std::string> WeightedSum::columns() const {
  std::vector<std::string> out;
  for (const auto& part : parts_)
    for (const auto& column : part.model->columns()) out.push_back(column);
  return out;
}

State WeightedSum::state() const {
  State out;
  for (const auto& part : parts_)
    for (const auto& [name, value] : part.model->state()) out[part.name + "." + name] = value;
  return out;
}

void WeightedSum::load_state(const State& state) {
  for (auto& part : parts_) {
    State own;
    for (const auto& [name, value] : state)
      if (name.rfind(part.name + ".", 0) == 0) own[name.substr(part.name.size() + 1)] = value;
    part.model->load_state(own);
  }
}

}  // namespace rft
