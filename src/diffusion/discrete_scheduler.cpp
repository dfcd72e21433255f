#include "diffusion/discrete_scheduler.h"

#include <ATen/ATen.h>

#include <cmath>
#include <limits>

#include "rft/core/error.h"

namespace rft {
namespace {

/// sqrt(a) and sqrt(1 - a) at timestep [N], [N, 1, ...] to multiply `like` with.
struct Shares {
  Tensor signal, noise;
};

Shares shares(const NoiseSchedule& schedule, const Tensor& timestep, const Tensor& like) {
  auto wide = at::promote_types(like.scalar_type(), at::kFloat);
  Tensor kept = at::tensor(schedule.kept, at::kFloat).to(timestep.device(), at::kDouble);
  Tensor t = timestep.flatten().to(at::kDouble).clamp(0, static_cast<double>(schedule.size() - 1));
  Tensor low = t.floor().to(at::kLong), high = t.ceil().to(at::kLong), part = t.sub(low);
  auto sigma = [&](const Tensor& index) { return (1 / kept.index_select(0, index) - 1).sqrt(); };
  Tensor between = 1 / (sigma(low).mul(1 - part).add(sigma(high).mul(part)).square().add(1));
  Tensor a = at::where(part.eq(0), kept.index_select(0, low), between).to(like.device(), wide);
  std::vector<int64_t> shape(static_cast<size_t>(like.dim()), 1);
  shape[0] = -1;
  return {a.sqrt().view(shape), (1 - a).sqrt().view(shape)};
}

}  // namespace

DiscreteScheduler::DiscreteScheduler(std::string json, std::string where, NoiseSchedule noise)
    : json_(std::move(json)), where_(std::move(where)), noise_(std::move(noise)) {}

Tensor DiscreteScheduler::add_noise(const Tensor& clean, const Tensor& noise, const Tensor& timestep) const {
  auto [signal, spread] = shares(noise_, timestep, clean);
  return clean.mul(signal).add(noise.mul(spread)).to(clean.dtype());
}

Tensor DiscreteScheduler::target(const Tensor& clean, const Tensor& noise, const Tensor& timestep) const {
  if (noise_.prediction == Prediction::epsilon) return noise;
  if (noise_.prediction == Prediction::sample) return clean;
  auto [signal, spread] = shares(noise_, timestep, clean);
  return noise.mul(signal).sub(clean.mul(spread)).to(clean.dtype());
}

Tensor DiscreteScheduler::denoised(const Tensor& x, const Tensor& output, const Tensor& timestep) const {
  Tensor answer = mean_channels(output, x);
  if (noise_.prediction == Prediction::sample) return answer;
  auto [signal, spread] = shares(noise_, timestep, x);
  if (noise_.prediction == Prediction::velocity) return x.mul(signal).sub(answer.mul(spread)).to(x.dtype());
  return x.sub(answer.mul(spread)).div(signal).to(x.dtype());
}

Tensor DiscreteScheduler::training_timesteps(const Tensor& u) const {
  auto count = static_cast<double>(T());
  return u.to(at::kDouble).mul(count).floor().clamp(0, count - 1).to(at::kFloat);
}

void DiscreteScheduler::check_steps(int64_t steps) const {
  if (steps < 1 || steps > T())
    bad_input(where_, "a run has from 1 to ", T(), " steps (num_train_timesteps); got ", steps);
}

void DiscreteScheduler::check_timesteps(const std::vector<double>& timesteps) const {
  for (double t : timesteps) {
    if (t >= static_cast<double>(T()))
      bad_input(where_, "with this `steps_offset` a run of ", timesteps.size(), " steps visits timestep ", t,
                ", but the model was trained at 0 to ", T() - 1, "; take fewer steps");
    if (noise_.prediction == Prediction::epsilon && noise_.at(static_cast<int64_t>(t)) == 0)
      bad_input(where_, "with `rescale_betas_zero_snr` and this `timestep_spacing` a run starts at pure noise, from ",
                "which no sample follows by `prediction_type` epsilon; v_prediction or sample it could be");
  }
}

void DiscreteScheduler::check_no_sde(const StepOptions& options) const {
  if (options.sde != "default")
    bad_input(where_, "the stochastic step '", options.sde, "' is for flow models; this scheduler has only 'default'");
}

double read_clip(ModelConfig& config, bool missing) {
  bool clip = config.flag("clip_sample", missing);
  double range = config.number("clip_sample_range", 1);
  if (!(range > 0)) config.refuse("clip_sample_range", "must be above 0");
  return clip ? range : std::numeric_limits<double>::infinity();
}

void refuse_thresholding(ModelConfig& config) {
  config.only("thresholding", {false});
  config.ignore({"dynamic_thresholding_ratio", "sample_max_value"});
}

Tensor mean_channels(const Tensor& output, const Tensor& x) {
  Tensor out = output.size(1) == 2 * x.size(1) ? output.narrow(1, 0, x.size(1)) : output;
  return out.to(x.scalar_type());
}

}  // namespace rft
