#include "diffusion/noise_schedule.h"

#include <ATen/ATen.h>

#include <cmath>
#include <numbers>

#include "rft/core/error.h"
#include "rft/core/text.h"

namespace rft {
namespace {

/// Nichol and Dhariwal 2021 (arXiv:2102.09672), equation 17: betas of a squared cosine, none above 0.999.
Tensor cosine_betas(int64_t T) {
  auto level = [](double u) { return std::pow(std::cos((u + 0.008) / 1.008 * std::numbers::pi / 2), 2); };
  std::vector<float> out;
  auto count = static_cast<double>(T);
  for (int64_t i = 0; i < T; ++i) {
    auto u = static_cast<double>(i);
    out.push_back(static_cast<float>(std::min(1 - level((u + 1) / count) / level(u / count), 0.999)));
  }
  return at::tensor(out);
}

Tensor read_betas(ModelConfig& config, const NoiseDefaults& missing, const std::string& schedule) {
  int64_t T = config.integer("num_train_timesteps", 1000);
  double first = config.number("beta_start", missing.beta_start), last = config.number("beta_end", missing.beta_end);
  std::vector<double> given = config.numbers("trained_betas", {});
  if (T < 1 || T > 1000000) config.refuse("num_train_timesteps", "must be from 1 to 1000000");
  if (config.has("trained_betas")) {
    if (static_cast<int64_t>(given.size()) != T) config.refuse("trained_betas", cat("must have ", T, " numbers"));
    return at::tensor(given, at::kDouble).to(at::kFloat);
  }
  if (!(first >= 0 && first < 1)) config.refuse("beta_start", "must be from 0 to 1");
  if (!(last >= 0 && last < 1)) config.refuse("beta_end", "must be from 0 to 1");
  if (schedule == "linear") return at::linspace(first, last, T, at::kFloat);
  if (schedule == "scaled_linear") return at::linspace(std::sqrt(first), std::sqrt(last), T, at::kFloat).square();
  return cosine_betas(T);
}

/// Lin et al. 2023 (arXiv:2305.08891), algorithm 1: shifted and scaled so that the last level keeps nothing.
Tensor without_terminal_signal(const Tensor& betas) {
  Tensor root = at::cumprod(1 - betas, 0).sqrt(), first = root[0].clone(), last = root[-1].clone();
  Tensor kept = root.sub(last).mul(first.div(first.sub(last))).square();
  Tensor ratio = kept.slice(0, 1).div(kept.slice(0, 0, -1));
  return 1 - at::cat({kept.slice(0, 0, 1), ratio});
}

Prediction read_prediction(ModelConfig& config) {
  config.only("prediction_type", {"epsilon", "sample", "v_prediction"});
  std::string name = config.text("prediction_type", "epsilon");
  return name == "epsilon" ? Prediction::epsilon : name == "sample" ? Prediction::sample : Prediction::velocity;
}

}  // namespace

std::vector<float> NoiseSchedule::sigmas() const {
  std::vector<float> out;
  for (float a : kept) out.push_back(std::sqrt((1 - a) / a));
  return out;
}

NoiseSchedule read_noise_schedule(ModelConfig& config, const NoiseDefaults& missing) {
  NoiseSchedule out;
  config.only("beta_schedule", {"linear", "scaled_linear", "squaredcos_cap_v2"});
  out.beta_schedule = config.text("beta_schedule", missing.beta_schedule);
  Tensor betas = read_betas(config, missing, out.beta_schedule);
  out.zero_snr = config.flag("rescale_betas_zero_snr", false);
  if (out.zero_snr && betas.numel() < 2) config.refuse("rescale_betas_zero_snr", "needs at least 2 timesteps");
  if (out.zero_snr) betas = without_terminal_signal(betas);
  Tensor kept = at::cumprod(1 - betas, 0).contiguous();
  out.kept.assign(kept.data_ptr<float>(), kept.data_ptr<float>() + kept.numel());
  out.prediction = read_prediction(config);
  return out;
}

NoiseSchedule with_finite_sigmas(NoiseSchedule schedule) {
  if (schedule.zero_snr) schedule.kept.back() = std::ldexp(1.0F, -24);
  return schedule;
}

Tensor clean_from(Prediction prediction, const Tensor& output, const Tensor& x, float a) {
  double signal = std::sqrt(a), noise = std::sqrt(1 - a);
  if (prediction == Prediction::sample) return output;
  if (prediction == Prediction::velocity) return x.mul(signal).sub(output.mul(noise));
  return x.sub(output.mul(noise)).div(signal);
}

Tensor noise_from(Prediction prediction, const Tensor& output, const Tensor& x, float a) {
  double signal = std::sqrt(a), noise = std::sqrt(1 - a);
  if (prediction == Prediction::epsilon) return output;
  if (prediction == Prediction::velocity) return output.mul(signal).add(x.mul(noise));
  return x.sub(output.mul(signal)).div(noise);
}

}  // namespace rft
