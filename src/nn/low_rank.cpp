#include "nn/low_rank.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>
#include <set>

#include "rft/core/error.h"
#include "rft/core/text.h"

namespace rft {

void check_lora(const LoraConfig& config) {
  if (config.rank < 1) bad_input("lora.rank", "must be at least 1; got ", config.rank);
  if (config.dropout != 0) bad_input("lora.dropout", "only 0 is implemented; got ", config.dropout);
}

double lora_scale(const LoraConfig& config) {
  auto rank = static_cast<double>(config.rank);
  return config.alpha / (config.rslora ? std::sqrt(rank) : rank);
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

Adapter first_adapter(const std::string& module, const Tensor& weight, int64_t first, int64_t rows, int64_t rank,
                      double scale, const Rng& rng) {
  int64_t in = weight.size(1);
  Tensor a = at::empty({rank, in}, at::kDouble);
  double bound = 1 / std::sqrt(static_cast<double>(in));
  double* at = a.data_ptr<double>();
  for (int64_t i = 0; i < a.numel(); ++i) at[i] = bound * (2 * rng.uniform(static_cast<uint64_t>(i)) - 1);
  a = a.to(weight.options().requires_grad(false));
  Tensor b = at::zeros({rows, rank}, a.options());
  return {module, a.requires_grad_(), b.requires_grad_(), first, rows, scale};
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
