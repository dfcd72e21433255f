#include "diffusion/spacing.h"

#include <algorithm>
#include <cmath>

namespace rft {

Spacing read_spacing(ModelConfig& config, const char* missing) {
  config.only("timestep_spacing", {"leading", "linspace", "trailing"});
  return {config.text("timestep_spacing", missing), config.integer("steps_offset", 0)};
}

std::vector<double> linspace(double first, double last, int64_t n) {
  std::vector<double> out;
  double step = n > 1 ? (last - first) / static_cast<double>(n - 1) : 0;
  for (int64_t i = 0; i < n; ++i) out.push_back(static_cast<double>(i) * step + first);
  if (n > 1) out.back() = last;
  return out;
}

std::vector<double> spaced_timesteps(const Spacing& spacing, int64_t T, int64_t steps, bool whole) {
  std::vector<double> out;
  if (spacing.kind == "linspace") {
    out = linspace(0, static_cast<double>(T - 1), steps);
    for (double& t : out) t = whole ? std::nearbyint(t) : static_cast<float>(t);
    std::reverse(out.begin(), out.end());
    return out;
  }
  auto last = static_cast<double>(T), ratio = last / static_cast<double>(steps), step = (last - ratio) - last;
  for (int64_t i = 0; i < steps; ++i) {
    if (spacing.kind == "leading")
      out.push_back(static_cast<double>((steps - 1 - i) * (T / steps) + spacing.offset));
    else
      out.push_back(std::nearbyint(last + static_cast<double>(i) * step) - 1);
  }
  return out;
}

Spread read_spread(ModelConfig& config) {
  config.only("use_beta_sigmas", {false});
  bool karras = config.flag("use_karras_sigmas", false), exponential = config.flag("use_exponential_sigmas", false);
  if (karras && exponential) config.refuse("use_exponential_sigmas", "can't be together with use_karras_sigmas");
  return karras ? Spread::karras : exponential ? Spread::exponential : Spread::timesteps;
}

std::vector<double> spread_sigmas(Spread spread, double high, double low, int64_t n) {
  if (spread == Spread::exponential) {
    auto out = linspace(std::log(high), std::log(low), n);
    for (double& x : out) x = std::exp(x);
    return out;
  }
  const double rho = 7, from = std::pow(high, 1 / rho), to = std::pow(low, 1 / rho);
  auto out = linspace(0, 1, n);
  for (double& x : out) x = std::pow(from + x * (to - from), rho);
  return out;
}

double timestep_of(double sigma, const std::vector<float>& sigmas) {
  double wanted = std::log(std::max(sigma, 1e-10));
  auto level = [&](size_t t) { return static_cast<double>(std::log(sigmas[t])); };
  size_t low = 0;
  while (low + 2 < sigmas.size() && level(low + 1) <= wanted) ++low;
  if (sigmas.size() < 2) return 0;
  double share = std::clamp((level(low) - wanted) / (level(low) - level(low + 1)), 0.0, 1.0);
  return static_cast<double>(low) + share;
}

double sigma_at(double timestep, const std::vector<float>& sigmas) {
  auto last = static_cast<double>(sigmas.size() - 1);
  double t = std::clamp(timestep, 0.0, last), low = std::floor(t);
  auto i = static_cast<size_t>(low);
  if (i + 1 >= sigmas.size()) return sigmas.back();
  double a = sigmas[i], b = sigmas[i + 1];
  return (b - a) * (t - low) + a;
}

}  // namespace rft
