#pragma once
/// Which timesteps a run of fewer steps visits (Lin et al. 2023, arXiv:2305.08891, table 2), and noise levels spread
/// over a range. Rounding follows numpy: halves go to the even number.
#include <string>
#include <vector>

#include "core/model_config.h"

namespace rft {

struct Spacing {
  std::string kind;    ///< leading, linspace or trailing
  int64_t offset = 0;  ///< added to leading timesteps
};

/// Reads timestep_spacing and steps_offset.
Spacing read_spacing(ModelConfig& config, const char* missing);

/// `n` numbers from first to last; one number is `first`.
std::vector<double> linspace(double first, double last, int64_t n);

/// [steps], falling. Whole numbers, but for linspace where `whole` is false. At some trailing counts (61 of 1000)
/// diffusers' rounding visits one timestep more, -1; that one is left out.
std::vector<double> spaced_timesteps(const Spacing& spacing, int64_t T, int64_t steps, bool whole);

/// Where the levels of a run lie between the first and the last.
enum class Spread { timesteps, karras, exponential };

/// Reads use_karras_sigmas, use_exponential_sigmas and use_beta_sigmas (refused).
Spread read_spread(ModelConfig& config);

/// [n], falling from `high` to `low`: Karras et al. 2022 (arXiv:2206.00364), equation 5 with rho 7, or evenly in the
/// logarithm.
std::vector<double> spread_sigmas(Spread spread, double high, double low, int64_t n);

/// The timestep whose level `sigma` is, between whole ones by the logarithm; `sigmas` [T] rises.
double timestep_of(double sigma, const std::vector<float>& sigmas);
/// The level at a timestep that may lie between whole ones.
double sigma_at(double timestep, const std::vector<float>& sigmas);

}  // namespace rft
