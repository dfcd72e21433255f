#include "nn/low_rank.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

#include <algorithm>
#include <cmath>
#include <set>

#include "rft/core/error.h"
#include "rft/core/text.h"
#include "rft/ops/quantized.h"

namespace rft {

double lora_scale(double alpha, int64_t rank, bool rslora) {
  auto r = static_cast<double>(rank);
  return alpha / (rslora ? std::sqrt(r) : r);
}

PatternNumbers::PatternNumbers(const NamedNumbers& numbers, const std::string& where) {
  for (const auto& [pattern, number] : numbers)
    numbers_.emplace_back(PathPattern("(.*\\.)?(" + pattern + ")", where), number);
}

double PatternNumbers::of(const std::string& path, double otherwise) const {
  auto matches = [&](const auto& entry) { return entry.first.matches(path); };
  auto found = std::find_if(numbers_.begin(), numbers_.end(), matches);
  return found == numbers_.end() ? otherwise : found->second;
}

LoraPlan::LoraPlan(const LoraConfig& config, const std::vector<std::string>& paths, std::vector<std::string> defaults,
                   const std::string& remark)
    : config_(config),
      targets_(config.target_modules.empty() ? std::move(defaults) : config.target_modules),
      ranks_(config.rank_pattern, "lora.rank_pattern"),
      alphas_(config.alpha_pattern, "lora.alpha_pattern") {
  if (config.rank < 1) bad_input("lora.rank", "must be at least 1; got ", config.rank);
  if (config.dropout != 0) bad_input("lora.dropout", "only 0 is implemented; got ", config.dropout);
  for (const auto& [pattern, rank] : config.rank_pattern)
    if (!(rank >= 1 && rank <= 1e6) || rank != std::floor(rank))
      bad_input("lora.rank_pattern", "ranks must be whole numbers from 1; got ", rank, " for '", pattern, "'");
  if (config.target_regex.empty()) {
    check_targets(config.target_modules, paths, remark);
    return;
  }
  if (!config.target_modules.empty())
    bad_input("lora.target_regex", "stands in the place of target_modules; both are given");
  pattern_.emplace_back(config.target_regex, "lora.target_regex");
  if (std::none_of(paths.begin(), paths.end(), [&](const auto& path) { return names(path); }))
    bad_input("lora.target_regex", "must match the whole path of a linear layer of the model", remark,
              paths.empty() ? "" : ", such as '" + paths[0] + "'", "; got '", config.target_regex, "'");
}

bool LoraPlan::names(const std::string& path) const {
  if (!pattern_.empty()) return pattern_[0].matches(path);
  return targets_.empty() || names_module(targets_, path);
}

int64_t LoraPlan::rank(const std::string& path) const {
  return static_cast<int64_t>(ranks_.of(path, static_cast<double>(config_.rank)));
}

double LoraPlan::scale(const std::string& path) const {
  return lora_scale(alphas_.of(path, config_.alpha), rank(path), config_.rslora);
}

Adapter LoraPlan::adapter(const std::string& path, const Linear& linear, int64_t first, int64_t rows,
                          const at::TensorOptions& options, const Rng& rng) const {
  Adapter out = first_adapter(path, ops::columns(linear.weight), first, rows, rank(path), scale(path), options, rng);
  if (!config_.dora) return out;
  at::NoGradGuard no_grad;
  Tensor length = linear.rows(first, rows, at::kDouble).norm(2, 1);
  out.magnitude = length.to(options).requires_grad_();
  return out;
}

std::vector<std::string> paths_of(const Weights& weights) {
  std::vector<std::string> out;
  for (const NamedLinear& layer : weights.linears) out.push_back(layer.name);
  return out;
}

void freeze(Weights& weights) {
  for (auto& [name, value] : weights.tensors) value.requires_grad_(false);
}

void add_adapters(Weights& weights, const LoraPlan& plan, uint64_t seed) {
  for (const auto& [path, linear] : weights.linears)
    if (!linear->adapters.empty()) bad_input("lora", path, " has an adapter already");
  for (size_t i = 0; i < weights.linears.size(); ++i) {
    auto& [path, linear] = weights.linears[i];
    if (plan.names(path))
      linear->adapters.push_back(plan.adapter(path, *linear, 0, linear->weight.size(0),
                                              linear->weight.options().requires_grad(false), Rng(seed, i)));
  }
  freeze(weights);
}

void merge_adapters(Linear& linear) {
  at::NoGradGuard no_grad;
  for (const Adapter& adapter : linear.adapters) {
    if (linear.scale.defined()) run_failed("merge", adapter.module, " is quantized: nothing can be added to it");
    Tensor rows = linear.weight.narrow(0, adapter.first, adapter.rows);
    at::ScalarType type = rows.scalar_type() == at::kDouble ? at::kDouble : at::kFloat;
    Tensor merged = rows.to(type).addmm(adapter.b.to(type), adapter.a.to(type), 1, adapter.scale);
    if (adapter.magnitude.defined()) merged = merged.mul(dora_gain(linear, adapter).to(type).unsqueeze(1));
    rows.copy_(merged);
  }
  linear.adapters.clear();
}

std::string last_part(const std::string& path) {
  size_t dot = path.rfind('.');
  bool number = dot != std::string::npos && path.find_first_not_of("0123456789", dot + 1) == std::string::npos;
  if (number && dot > 0) dot = path.rfind('.', dot - 1);
  return path.substr(dot + 1);
}

bool names_module(const std::string& target, const std::string& path) {
  return path == target || path.ends_with("." + target);
}

bool names_module(const std::vector<std::string>& targets, const std::string& path) {
  return std::any_of(targets.begin(), targets.end(), [&](const auto& target) { return names_module(target, path); });
}

void check_targets(const std::vector<std::string>& targets, const std::vector<std::string>& paths,
                   const std::string& remark) {
  std::set<std::string> known;
  for (const std::string& path : paths) known.insert(last_part(path));
  for (const std::string& target : targets) {
    auto hit = [&](const std::string& path) { return names_module(target, path); };
    if (std::none_of(paths.begin(), paths.end(), hit))
      bad_input("lora.target_modules", "a target must name linear layers of the model", remark, "; got '", target, "'",
                suggestion(target, {known.begin(), known.end()}));
  }
}

Adapter first_adapter(const std::string& module, int64_t in, int64_t first, int64_t rows, int64_t rank, double scale,
                      const at::TensorOptions& options, const Rng& rng) {
  Tensor a = at::empty({rank, in}, at::kDouble);
  double bound = 1 / std::sqrt(static_cast<double>(in));
  double* at = a.data_ptr<double>();
  for (int64_t i = 0; i < a.numel(); ++i) at[i] = bound * (2 * rng.uniform(static_cast<uint64_t>(i)) - 1);
  a = a.to(options);
  Tensor b = at::zeros({rows, rank}, a.options());
  return {module, a.requires_grad_(), b.requires_grad_(), first, rows, scale, {}};
}

NamedNumbers pattern_numbers(const nlohmann::ordered_json& fields, const std::string& name) {
  NamedNumbers out;
  auto found = fields.find(name);
  if (found == fields.end() || found->is_null()) return out;
  for (const auto& [pattern, number] : found->get_ref<const nlohmann::ordered_json::object_t&>())
    out.emplace_back(pattern, number.get<double>());
  return out;
}

nlohmann::json plain_number(double value) {
  if (value == std::floor(value) && std::abs(value) < 1e15) return static_cast<int64_t>(value);
  return value;
}

bool fits(const std::string& name, const Tensor& value, at::IntArrayRef shape, std::vector<std::string>& problems) {
  if (value.sizes() != shape)
    problems.push_back(cat("'", name, "' must be ", shape, ", is ", value.sizes()));
  else if (!value.is_floating_point())
    problems.push_back("'" + name + "' must hold floating-point numbers");
  else
    return true;
  return false;
}

}  // namespace rft
