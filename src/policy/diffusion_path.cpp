// Reward backpropagation: samples through which the reward's gradient flows.
#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

#include <limits>
#include <memory>

#include "policy/noised.h"
#include "rft/core/error.h"
#include "rft/core/extra.h"
#include "rft/core/noise.h"
#include "rft/core/rng.h"
#include "rft/nn/recompute.h"

namespace rft {
namespace {

/// A row's stream of DRaFT-LV's noise, far from those of the steps.
constexpr uint64_t kRefined = 1u << 20;
// What a step's key is used for.
enum Choice : uint64_t { kLastSteps = 1, kDenoisedStep = 2 };

/// The batch with its samples, for the reward.
Experience with_images(const Experience& batch, const Tensor& images) {
  Experience out;
  out.context = batch.context, out.group = batch.group, out.mask = batch.mask;
  out.extra.set(extra::image, images);
  return out;
}

/// One step as a function of the sample before it; the random numbers are part of it.
using StepBody = std::function<Tensor(const Tensor&)>;

StepBody step_body(const DenoisingModel& model, std::shared_ptr<const DenoisingRun> run,
                   const std::vector<uint64_t>& keys, int64_t i) {
  return [model, run, keys, i](const Tensor& x) {
    StepHistory history;
    return next_sample(transition(model, *run, i, x, history), keys, i);
  };
}

/// The same with the run's KL divergence to the reference's, x [N, C, h, w] and kl [N] packed as [N, C * h * w + 1].
/// `flows`: the gradient goes back to x; without it only the step's own divergence is learned from.
StepBody step_body_with_kl(const DenoisingModel& model, const DenoisingModel& reference,
                           std::shared_ptr<const DenoisingRun> run, const std::vector<uint64_t>& keys, int64_t i,
                           at::IntArrayRef shape, bool mean, bool flows) {
  return [model, reference, run, keys, i, shape = shape.vec(), mean, flows](const Tensor& packed) {
    int64_t numbers = packed.size(1) - 1;
    Tensor x = packed.narrow(1, 0, numbers).reshape(shape), kl = packed.select(1, numbers);
    if (!flows) x = x.detach();
    StepHistory history, other_history;
    Transition step = transition(model, *run, i, x, history), other = transition(reference, *run, i, x, other_history);
    if (step.std > 0) kl = kl.add(step_kl(step, other, mean));
    if (!flows) step.mean = step.mean.detach(), step.stds = step.stds.defined() ? step.stds.detach() : Tensor();
    return at::cat({next_sample(step, keys, i).flatten(1), kl.unsqueeze(1)}, 1);
  };
}

}  // namespace

Evaluation Diffusion::evaluate_path(const Experience& batch, const Needs& needs, const RewardOfSample& reward) {
  const Pathwise& path = *needs.pathwise;
  if (path.path != Pathwise::Path::noised_data && pipeline_.scheduler->multistep())
    bad_input("rollout.scheduler",
              "a step of this scheduler depends on the ones before it, and no gradient is taken "
              "through that; use ddim, ddpm or euler");
  if (path.path == Pathwise::Path::chain) return chain(batch, path, reward);
  return path.path == Pathwise::Path::denoised ? denoised(batch, path, reward) : noised_data(batch, path, reward);
}

Evaluation Diffusion::chain(const Experience& batch, const Pathwise& path, const RewardOfSample& reward) {
  auto run = std::make_shared<DenoisingRun>(begin(batch.context, rollout_.eta));
  auto keys = draw_keys(batch.extra.tensor(extra::draw), 1);
  const int64_t T = run->plan.steps();
  int64_t low = std::min(path.min_steps ? path.min_steps : T, T),
          high = std::min(path.max_steps ? path.max_steps : T, T);
  int64_t last = draw_between(std::min(low, high), high, version_, kLastSteps);
  Tensor x = first_sample(*run, start(keys), batch.context.find("start"));
  const auto shape = x.sizes().vec();
  if (path.kl) x = at::cat({x.flatten(1), at::zeros({x.size(0), 1}, x.options())}, 1);
  for (int64_t i = 0; i < T; ++i) {
    bool flows = i >= T - last;
    auto body = path.kl ? step_body_with_kl(model(), reference(), run, keys, i, shape, rollout_.logp == "mean", flows)
                        : step_body(model(), run, keys, i);
    at::AutoGradMode gradients(at::GradMode::is_enabled() && (flows || path.kl));
    // All but the last step are computed again in the backward pass: one latent a step is kept.
    x = at::GradMode::is_enabled() && i + 1 < T ? recompute_in_backward(body, x) : body(x);
  }
  Tensor kl;
  if (path.kl) kl = x.select(1, x.size(1) - 1), x = x.narrow(1, 0, x.size(1) - 1).reshape(shape);
  Evaluation out;
  Tensor images = decode(x);
  out.reward = reward(with_images(batch, images));
  for (int64_t k = 0; k < path.noise_repeats; ++k)
    out.reward = out.reward.add(reward(with_images(batch, decode(refined(*run, x.detach(), k)))));
  out.reward = out.reward.div(static_cast<double>(path.noise_repeats + 1));
  if (path.kl) out.extra.set(extra::path_kl, kl);
  out.extra.set(extra::image, images.detach());
  return out;
}

/// DRaFT-LV (Clark et al. 2023, arXiv:2309.17400, section 4): the finished sample, noised to the last level again and
/// denoised with gradients: another estimate of the last step's gradient at the price of one step.
Tensor Diffusion::refined(const DenoisingRun& run, const Tensor& finished, int64_t repeat) {
  std::vector<uint64_t> keys;
  for (int64_t i = 0; i < finished.size(0); ++i) keys.push_back(mix(mix(static_cast<uint64_t>(version_), repeat), i));
  Tensor z = standard_normal(keys, finished.sizes().slice(1), kRefined).to(finished.dtype());
  Tensor timestep = at::full({finished.size(0)}, run.plan.timesteps.back(), at::kFloat);
  Tensor x = run.scheduler.add_noise(finished, z, timestep);
  Tensor output = predict_guided(model(), run, x, run.plan.timesteps.back()).narrow(1, 0, x.size(1));
  return run.scheduler.denoised(x, output, timestep);
}

Evaluation Diffusion::denoised(const Experience& batch, const Pathwise& path, const RewardOfSample& reward) {
  auto run = std::make_shared<DenoisingRun>(begin(batch.context, rollout_.eta));
  auto keys = draw_keys(batch.extra.tensor(extra::draw), 1);
  auto T = static_cast<double>(run->plan.steps());
  auto low = static_cast<int64_t>(path.min_level * (T - 1)), high = static_cast<int64_t>(path.max_level * (T - 1));
  int64_t stop = draw_between(low, std::max(low, high), version_, kDenoisedStep);
  Tensor x = first_sample(*run, start(keys), batch.context.find("start"));
  {
    at::NoGradGuard no_grad;
    for (int64_t i = 0; i < stop; ++i) x = step_body(model(), run, keys, i)(x);
  }
  StepHistory history;
  Tensor estimate = transition(model(), *run, stop, x, history).denoised;
  Tensor images = decode(estimate);
  Evaluation out;
  out.reward = reward(with_images(batch, images));
  out.extra.set(extra::image, images.detach());
  return out;
}

Evaluation Diffusion::noised_data(const Experience& batch, const Pathwise& path, const RewardOfSample& reward) {
  NoisedSamples noised = add_noise(batch);
  Tensor output = predict(model(), noised.x, noised.timestep, told_of(batch, noised));
  Evaluation out;
  out.logp = denoising_error(noised, output).neg().unsqueeze(1);
  out.reward = at::full({batch.rows()}, std::numeric_limits<double>::quiet_NaN(), at::kFloat);
  Tensor judged = noised.level.le(path.max_level).nonzero().flatten();
  Tensor images = at::zeros({batch.rows(), 3, height(), width()}, at::kFloat);
  if (judged.numel() > 0) {
    Tensor estimate = pipeline_.scheduler->denoised(noised.x.index_select(0, judged), output.index_select(0, judged),
                                                    noised.timestep.index_select(0, judged));
    Tensor pictures = decode(estimate);
    Tensor value = reward(with_images(batch.select(judged), pictures)).to(at::kFloat);
    out.reward = out.reward.index_copy(0, judged, value);
    images.index_copy_(0, judged, pictures.detach().to(at::kFloat));
  }
  out.extra.set(extra::image, images);
  return out;
}

}  // namespace rft
