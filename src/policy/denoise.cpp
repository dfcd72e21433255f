#include "policy/denoise.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

#include "rft/core/noise.h"

namespace rft {

DenoisingRun DenoisingRun::rows(const Tensor& index) const {
  DenoisingRun out{scheduler, plan, options, guidance, select(told, index), std::nullopt};
  if (nothing) out.nothing = select(*nothing, index);
  out.random = random;
  return out;
}

StepOptions DenoisingRun::options_at(int64_t i) const {
  const bool may = random.empty() || random.at(static_cast<size_t>(i));
  return may ? options : StepOptions{};
}

Tensor predict(const DenoisingModel& model, const Tensor& x, const Tensor& timestep, const Conditioning& told,
               bool variances) {
  // Latents stay in float32 (or wider) where the weights are narrower: steps and their log-probabilities are exact.
  Tensor input = x.to(model.denoiser.weights().tensors.front().second.scalar_type());
  std::optional<ControlResiduals> residuals;
  if (model.controlnet) residuals = model.controlnet->forward(input, timestep, told, model.control_scale);
  const ControlResiduals* control = residuals ? &*residuals : nullptr;
  Tensor out = model.denoiser.forward(input, timestep, told, control).to(x.scalar_type());
  if (model.mixture.other) {
    Tensor other = model.mixture.other->forward(input, timestep, told, control).to(x.scalar_type());
    out = other.add(out.sub(other), model.mixture.weight);
  }
  return !variances && out.size(1) == 2 * x.size(1) ? out.narrow(1, 0, x.size(1)) : out;
}

Tensor predict_guided(const DenoisingModel& model, const DenoisingRun& run, const Tensor& x, double timestep) {
  const bool variances = run.scheduler.learned_variance();
  if (!run.nothing) return predict(model, x, at::full({x.size(0)}, timestep, at::kFloat), run.told, variances);
  auto both = predict(model, at::cat({x, x}), at::full({2 * x.size(0)}, timestep, at::kFloat),
                      concat(*run.nothing, run.told), variances);
  auto halves = both.chunk(2);
  Tensor guided = halves[0].add(halves[1].sub(halves[0]), run.guidance);
  int64_t C = x.size(1), more = guided.size(1) - C;
  return more > 0 ? at::cat({guided.narrow(1, 0, C), halves[1].narrow(1, C, more)}, 1) : guided;
}

Tensor first_sample(const DenoisingRun& run, const Tensor& noise, const Tensor& start) {
  if (!start.defined()) return noise.mul(run.plan.init_noise_sigma);
  Tensor timestep = at::full({noise.size(0)}, run.plan.timesteps.at(0), at::kFloat);
  Tensor input = run.scheduler.add_noise(start.to(noise.scalar_type()), noise, timestep);
  // The forward process is in the denoiser's units: those that scale_input() makes of the scheduler's.
  return input.div(run.scheduler.scale_input(at::ones({1, 1, 1, 1}, noise.options()), run.plan, 0));
}

Transition transition(const DenoisingModel& model, const DenoisingRun& run, int64_t i, const Tensor& x,
                      StepHistory& history) {
  Tensor input = run.scheduler.scale_input(x, run.plan, i);
  Tensor output = predict_guided(model, run, input, run.plan.timesteps[static_cast<size_t>(i)]);
  return run.scheduler.step(run.plan, i, output, x, run.options_at(i), history);
}

Tensor next_sample(const Transition& step, const std::vector<uint64_t>& keys, int64_t i) {
  constexpr uint64_t kFirstStep = 1;  // stream 0 of a key is the noise that a run starts from
  if (step.std == 0) return step.mean;
  return draw_next(step, standard_normal(keys, step.mean.sizes().slice(1), kFirstStep + static_cast<uint64_t>(i)));
}

double step_std(const DenoisingRun& run, int64_t i) {
  at::NoGradGuard no_grad;
  Tensor x = at::zeros({1, 1, 1, 1}, at::kFloat),
         answer = at::zeros({1, run.scheduler.learned_variance() ? 2 : 1, 1, 1});
  StepHistory history;
  return run.scheduler.step(run.plan, i, answer, x, run.options_at(i), history).std;
}

}  // namespace rft
