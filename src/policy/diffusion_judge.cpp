// Log-probabilities: of the steps of a rollout, and of clean samples by their denoising error.
#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

#include <cmath>
#include <memory>
#include <numbers>
#include <utility>

#include "policy/noised.h"
#include "rft/core/error.h"
#include "rft/core/extra.h"
#include "rft/nn/recompute.h"

namespace rft {
namespace {

bool was_denoised(const Experience& batch) { return batch.context.has("noise"); }

/// Takes the adapters out of a model for as long as it lives: the model as it was before training.
class WithoutAdapters {
 public:
  explicit WithoutAdapters(const Weights& weights) : weights_(weights) {
    for (const auto& [name, linear] : weights_.linears) kept_.push_back(std::exchange(linear->adapters, {}));
  }
  ~WithoutAdapters() {
    for (size_t i = 0; i < kept_.size(); ++i) weights_.linears[i].linear->adapters = std::move(kept_[i]);
  }
  WithoutAdapters(const WithoutAdapters&) = delete;
  WithoutAdapters& operator=(const WithoutAdapters&) = delete;

 private:
  const Weights& weights_;
  std::vector<std::vector<Adapter>> kept_;
};

/// The sample before step i.
Tensor state_before(const Experience& batch, const DenoisingRun& run, int64_t i) {
  if (i > 0) return batch.action.select(1, i - 1);
  return first_sample(run, batch.context.tensor("noise"), batch.context.find("start"));
}

}  // namespace

Evaluation Diffusion::judge_rollout(const DenoisingModel& model, const Experience& batch, bool current) {
  int64_t B = batch.rows(), T = batch.action.size(1);
  if (!batch.mask.any().item<bool>())
    bad_input("rollout.scheduler",
              "none of its steps is random, so none has a log-probability to learn from; use ddpm, ddim with eta above "
              "0, euler_ancestral or lcm, or for a flow model `sde`");
  auto run = std::make_shared<DenoisingRun>(begin(batch.context, rollout_.eta));
  // A window may have moved since these rows were sampled: their mask says where it was.
  if (rollout_.has_window)
    for (int64_t i = 0; i < T; ++i) run->random.push_back(batch.mask.select(1, i).any().item<bool>());
  const bool mean = rollout_.logp == "mean";
  // Weights that have not moved since they sampled give the same numbers: they need not be computed before the backward
  // pass, which computes them anyway.
  const bool known = current && batch.extra.has("version") && batch.logp.defined() &&
                     batch.extra.tensor("version").eq(version_).all().item<bool>();
  std::vector<Tensor> logp, entropy;
  for (int64_t i = 0; i < T; ++i) {
    double std = batch.mask.select(1, i).any().item<bool>() ? step_std(*run, i) : 0;
    auto options = at::TensorOptions().dtype(latent_type());
    double dimensions = mean ? 1 : static_cast<double>(batch.action[0][0].numel());
    double spread = std > 0 ? dimensions * 0.5 * std::log(2 * std::numbers::pi * std::numbers::e * std * std) : 0;
    entropy.push_back(at::full({B}, spread, options));
    if (std == 0) {
      logp.push_back(at::zeros({B}, options));
      continue;
    }
    Tensor x = state_before(batch, *run, i), next = batch.action.select(1, i);
    Tensor sampled = known ? batch.logp.select(1, i) : Tensor();
    auto body = [this, run, model, next, sampled, mean, i](const Tensor& state) {
      StepHistory history;
      Tensor value = step_logp(transition(model, *run, i, state, history), next, mean);
      if (sampled.defined()) {
        mismatch_ += value.detach().sub(sampled).abs().sum().item<double>();
        mismatch_count_ += static_cast<double>(sampled.numel());
      }
      return value;
    };
    if (at::GradMode::is_enabled())
      logp.push_back(recompute_in_backward(body, x, sampled));
    else
      logp.push_back(known ? sampled : body(x));
  }
  Evaluation out;
  out.logp = at::stack(logp, 1);
  if (!pipeline_.scheduler->learned_variance()) out.entropy = at::stack(entropy, 1);
  out.logp_is_samplers = known;
  return out;
}

NoisedSamples Diffusion::add_noise(const Experience& batch) const {
  return noise_demonstrations(*pipeline_.scheduler, batch, options_.level_sampling == "logit_normal");
}

Tensor Diffusion::denoising_error(const NoisedSamples& noised, const Tensor& output) const {
  auto wide = at::promote_types(output.scalar_type(), at::kFloat);
  const Scheduler& scheduler = *pipeline_.scheduler;
  Tensor target = scheduler.target(noised.clean, noised.noise, noised.timestep);
  Tensor error = output.to(wide).sub(target.to(wide)).square().flatten(1).mean(1);
  if (options_.snr_gamma == 0) return error;
  return error.mul(min_snr_weight(scheduler, noised.timestep, options_.snr_gamma).to(wide));
}

/// What the model is told of demonstrations: of some of them nothing, where guidance is to be learned.
Conditioning Diffusion::told_of(const Experience& batch, const NoisedSamples& noised) {
  const int64_t B = batch.rows(), T = noised.draws;
  const Fields& once = batch.context;
  const Fields context = T == 1 ? once : once.select(at::arange(B).repeat_interleave(T));
  Conditioning told = this->told(context);
  if (options_.condition_dropout == 0) return told;
  return conditioner_->drop(told, conditioner_->none(context, height(), width()),
                            noised.dropout.lt(options_.condition_dropout));
}

/// Consistency distillation (Song et al. 2023, arXiv:2303.01469, algorithm 2, with the present weights without gradient
/// in the average's place, as in arXiv:2310.14189): at levels n of 1 .. N, N = consistency_levels,
///   logp = -mean over dimensions of (f(x_n) - sg f(x'_n-1))^2,
/// f the predicted clean sample, x_n the noised data, x'_n-1 a DDIM step from it by the model as it was loaded; f at
/// level 0 is its argument.
Evaluation Diffusion::judge_consistency(const Experience& batch) {
  const Scheduler& scheduler = *pipeline_.scheduler;
  NoisedSamples noised = add_noise(batch);
  auto levels = static_cast<double>(options_.consistency_levels);
  Tensor n = noised.level.mul(levels).floor().add(1);
  // The last timestep of level n: of 50 levels of 1000 timesteps 19, 39, ..., 999.
  auto timestep_of = [&](const Tensor& level) {
    return scheduler.training_timesteps(level.sub(1e-3).clamp_min(0).div(levels));
  };
  Tensor high = timestep_of(n), low = timestep_of(n.sub(1));
  Tensor x = scheduler.add_noise(noised.clean, noised.noise, high);
  Conditioning told = told_of(batch, noised);
  Tensor own = scheduler.denoised(x, predict(model(), x, high, told), high), target;
  {
    at::NoGradGuard no_grad;
    Tensor clean = scheduler.denoised(x, predict(reference(), x, high, told), high);
    Tensor zero = at::zeros_like(clean), unit = scheduler.add_noise(zero, at::ones_like(clean), high);
    Tensor noise = x.sub(scheduler.add_noise(clean, zero, high)).div(unit);
    Tensor stepped = scheduler.add_noise(clean, noise, low);
    target = scheduler.denoised(stepped, predict(model(), stepped, low, told), low);
    target = at::where(n.eq(1).view({-1, 1, 1, 1}), clean, target);
  }
  Evaluation out;
  out.logp = own.sub(target).square().flatten(1).mean(1).neg().unsqueeze(1);
  return out;
}

/// `estimates`: also what clean samples the answers mean.
Evaluation Diffusion::judge_demonstrations(const DenoisingModel& model, const Experience& batch, bool estimates) {
  NoisedSamples noised = add_noise(batch);
  Tensor output = predict(model, noised.x, noised.timestep, told_of(batch, noised));
  const int64_t B = batch.rows(), T = noised.draws;
  Evaluation out;
  out.logp = denoising_error(noised, output).neg().view({B, T});
  if (!estimates) return out;
  const Scheduler& scheduler = *pipeline_.scheduler;
  Tensor estimate = scheduler.denoised(noised.x, output, noised.timestep);
  auto shape = estimate.sizes().vec();
  shape[0] = T, shape.insert(shape.begin(), B);
  out.extra.set(extra::estimate, estimate.view(shape));
  at::NoGradGuard no_grad;
  Tensor one = at::ones({B * T, 1, 1, 1}, at::kDouble), zero = at::zeros_like(one);
  Tensor scale = scheduler.denoised(zero, one, noised.timestep).sub(scheduler.denoised(zero, zero, noised.timestep));
  out.extra.set(extra::estimate_scale, scale.abs().view({B, T}).to(estimate.scalar_type()));
  return out;
}

Evaluation Diffusion::evaluate(const Experience& batch, const Needs& needs) {
  bool estimates = needs.estimate || needs.ref_estimate;
  if (options_.consistency_levels > 0 && !was_denoised(batch)) {
    if (estimates)
      bad_input("policy.consistency_levels", "goes with objectives that learn from likelihoods, such as sft");
    return judge_consistency(batch);
  }
  if (was_denoised(batch)) {
    if (estimates)
      bad_input("rollout.judge", "the objective learns from the denoising of finished samples: judge forward");
    return judge_rollout(model(), batch, true);
  }
  Evaluation out = judge_demonstrations(model(), batch, estimates);
  if (!needs.ref_estimate) return out;
  at::NoGradGuard no_grad;
  out.extra.set(extra::ref_estimate, judge_by_reference(batch, true).extra.tensor(extra::estimate));
  return out;
}

DenoisingModel Diffusion::reference() {
  if (!reference_) {
    reference_ = std::make_unique<ImagePipeline>(make_());
    reference_->denoiser->set_frames(rollout_.frames);
  }
  return {*reference_->denoiser, reference_->controlnet.get(), options_.control_scale, {}};
}

Evaluation Diffusion::judge_by_reference(const Experience& batch, bool estimates) {
  auto judge = [&](const DenoisingModel& model) {
    return was_denoised(batch) ? judge_rollout(model, batch, false) : judge_demonstrations(model, batch, estimates);
  };
  if (!options_.use_lora) return judge(reference());
  WithoutAdapters base(pipeline_.denoiser->weights());
  return judge(model());
}

Tensor Diffusion::ref_logp(const Experience& batch, const Needs&) {
  if (options_.consistency_levels > 0 && !was_denoised(batch))
    bad_input("policy.consistency_levels", "goes with objectives that need no reference policy, such as sft");
  at::NoGradGuard no_grad;
  return judge_by_reference(batch, false).logp;
}

}  // namespace rft
