#include "rft/policy/steering.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

#include <cmath>
#include <limits>
#include <memory>

#include "policy/denoise.h"
#include "rft/core/error.h"
#include "rft/core/extra.h"
#include "rft/core/noise.h"
#include "rft/core/rng.h"
#include "rft/nn/recompute.h"

namespace rft {
namespace {

/// Everything that the methods share: N rows with k particles each, row r's particles at r * k ... r * k + k - 1.
class Steering {
 public:
  Steering(Diffusion& policy, const Fields& context, uint64_t seed, double eta, const SteerOptions& options,
           const RewardOfSample& reward)
      : policy_(policy),
        context_(context),
        rows_(context.rows()),
        seed_(seed),
        eta_(eta),
        options_(options),
        reward_(reward) {}

  Tensor best_of_n(const Tensor& noise);
  Tensor reno(const Tensor& noise);
  Tensor fk(const Tensor& noise);
  Tensor svdd(const Tensor& noise);

 private:
  Fields particles(int64_t count) const {
    return context_.select(at::arange(rows_, at::kLong).repeat_interleave(count));
  }
  /// [M] rewards of latents that belong to these contexts.
  Tensor judge(const Fields& context, const Tensor& latents) const {
    Experience sample;
    sample.context = context;
    sample.extra.set(extra::image, policy_.decode(latents));
    Tensor value = reward_(sample);
    return at::where(value.isnan(), at::full({}, -std::numeric_limits<double>::infinity(), value.options()), value);
  }
  /// Step i's next samples, each row with its own random numbers.
  Tensor advance(const Transition& step, int64_t i) const {
    std::vector<uint64_t> keys;
    for (int64_t row = 0; row < step.mean.size(0); ++row) keys.push_back(mix(mix(seed_, 77), row));
    return next_sample(step, keys, i);
  }
  /// First noise of every particle: a row's first is `noise`, the others are drawn.
  Tensor spread(const Tensor& noise) const {
    int64_t k = options_.particles;
    Tensor all = policy_.noise(rows_ * k, mix(seed_, 78)).to(noise.dtype());
    all.index_copy_(0, at::arange(0, rows_ * k, k), noise);
    return all;
  }
  /// [rows]: the index of each row's best particle.
  Tensor best(const Tensor& value) const {
    return value.view({rows_, -1}).argmax(1).add(at::arange(rows_).mul(value.numel() / rows_));
  }
  /// [rows * count]: particles drawn from their row's softmax(score), `count` a row.
  Tensor draw(const Tensor& score, int64_t count, int64_t step) const;
  void need_random_steps(const DenoisingRun& run) const;

  Diffusion& policy_;
  const Fields& context_;
  int64_t rows_;
  uint64_t seed_;
  double eta_;
  const SteerOptions& options_;
  const RewardOfSample& reward_;
};

void Steering::need_random_steps(const DenoisingRun& run) const {
  for (int64_t i = 0; i < run.plan.steps(); ++i)
    if (step_std(run, i) > 0) return;
  bad_input("--steer", options_.method, " needs random steps: use a scheduler such as ddpm, or ddim with --eta 1");
}

Tensor Steering::draw(const Tensor& score, int64_t count, int64_t step) const {
  Tensor weight = score.view({rows_, -1}).to(at::kDouble);
  weight = weight.sub(std::get<0>(weight.max(1, true)).clamp_min(-1e300)).div(options_.temperature).softmax(1);
  Tensor cumulative = weight.cumsum(1).contiguous(), out = at::empty({rows_, count}, at::kLong);
  int64_t k = weight.size(1);
  for (int64_t r = 0; r < rows_; ++r) {
    double offset = Rng(mix(seed_, r), 1000 + static_cast<uint64_t>(step)).uniform(0);
    for (int64_t j = 0; j < count; ++j) {  // systematic resampling: the least variance
      double u = (static_cast<double>(j) + offset) / static_cast<double>(count);
      int64_t chosen = 0;
      while (chosen + 1 < k && cumulative.data_ptr<double>()[r * k + chosen] <= u) ++chosen;
      out.data_ptr<int64_t>()[r * count + j] = r * k + chosen;
    }
  }
  return out.flatten();
}

Tensor Steering::best_of_n(const Tensor& noise) {
  at::NoGradGuard no_grad;
  Fields context = particles(options_.particles);
  Tensor latents = policy_.run(context, spread(noise), {}, seed_, eta_);
  return latents.index_select(0, best(judge(context, latents)));
}

Tensor Steering::fk(const Tensor& noise) {
  at::NoGradGuard no_grad;
  const int64_t k = options_.particles;
  Fields context = particles(k);
  DenoisingRun run = policy_.begin(context, eta_);
  need_random_steps(run);
  Tensor x = first_sample(run, spread(noise), context.find("start")), before = at::zeros({rows_ * k});
  StepHistory history;
  for (int64_t i = 0; i < run.plan.steps(); ++i) {
    Transition step = transition(policy_.model(), run, i, x, history);
    x = advance(step, i);
    if ((i + 1) % options_.every || i + 1 == run.plan.steps()) continue;
    Tensor value = judge(context, step.denoised).to(at::kFloat);
    Tensor chosen = draw(value.sub(before), k, i);
    x = x.index_select(0, chosen), before = value.index_select(0, chosen);
  }
  return x.index_select(0, best(judge(context, x)));
}

Tensor Steering::svdd(const Tensor& noise) {
  at::NoGradGuard no_grad;
  const int64_t k = options_.particles;
  Fields context = particles(k);
  DenoisingRun run = policy_.begin(context_, eta_), many = policy_.begin(context, eta_);
  need_random_steps(run);
  Tensor x = first_sample(run, noise, context_.find("start"));
  for (int64_t i = 0; i < run.plan.steps(); ++i) {
    StepHistory history;
    Transition step = transition(policy_.model(), run, i, x, history);
    if (step.std == 0) {
      x = step.mean;
      continue;
    }
    Tensor stds = step.stds.defined() ? step.stds.repeat_interleave(k, 0) : Tensor();
    Tensor candidates = advance({step.mean.repeat_interleave(k, 0), step.std, {}, stds}, i);
    bool last = i + 1 == run.plan.steps();
    StepHistory ahead;
    Tensor clean = last ? candidates : transition(policy_.model(), many, i + 1, candidates, ahead).denoised;
    x = candidates.index_select(0, draw(judge(context, clean), 1, i));
  }
  return x;
}

Tensor Steering::reno(const Tensor& noise) {
  auto run = std::make_shared<DenoisingRun>(policy_.begin(context_, eta_));
  auto dimensions = static_cast<double>(noise[0].numel());
  Tensor start = noise.detach().clone(), best_latents, best_value;
  for (int64_t iteration = 0; iteration <= options_.iterations; ++iteration) {
    start.requires_grad_(true);
    Tensor x = first_sample(*run, start, context_.find("start"));
    for (int64_t i = 0; i < run->plan.steps(); ++i)
      x = recompute_in_backward(
          [this, run, i](const Tensor& state) {
            StepHistory history;
            return advance(transition(policy_.model(), *run, i, state, history), i);
          },
          x);
    Tensor value = judge(context_, x);
    if (!value.requires_grad()) bad_input("--reward", "reno needs a reward that a gradient flows through");
    Tensor latents = x.detach(), found = value.detach();
    if (!best_value.defined()) {
      best_latents = latents, best_value = found;
    } else {
      Tensor better = found.gt(best_value);
      best_latents = at::where(better.view({-1, 1, 1, 1}), latents, best_latents);
      best_value = at::maximum(best_value, found);
    }
    if (iteration == options_.iterations) break;
    // The norm's log-likelihood under a standard normal: the noise stays where the model was trained.
    Tensor norm = start.flatten(1).norm(2, 1);
    Tensor likelihood = norm.log().mul(dimensions - 1).sub(norm.square().div(2));
    value.sum().add(likelihood.sum(), options_.noise_weight).backward();
    at::NoGradGuard no_grad;
    Tensor gradient = start.grad(), size = gradient.flatten(1).norm(2, 1).clamp_min(1e-12).view({-1, 1, 1, 1});
    // Normalised by row: one learning rate for rewards of any scale.
    start = start.detach().add(gradient.div(size).mul(std::sqrt(dimensions)), 0.1 * options_.lr);
  }
  return best_latents;
}

/// Runs with base + weight * (tuned - base).
Tensor reinforced(Diffusion& policy, const Fields& context, const Tensor& noise, uint64_t seed, double eta,
                  const SteerOptions& options) {
  if (options.base.empty())
    bad_input("--base", "rlg mixes the model with the one it was tuned from: name its directory");
  auto dtype = policy.pipeline().denoiser->weights().tensors.front().second.scalar_type();
  ImagePipeline base = load_image_pipeline(options.base, dtype);
  if (base.denoiser->in_channels() != policy.pipeline().denoiser->in_channels())
    bad_input("--base", "'", options.base, "' has ", base.denoiser->in_channels(), " channels, the tuned model ",
              policy.pipeline().denoiser->in_channels());
  policy.mix_with({base.denoiser.get(), options.base_weight});
  Tensor out = policy.run(context, noise, {}, seed, eta);
  policy.mix_with({});
  return out;
}

}  // namespace

std::vector<std::string> steering_methods() { return {"best_of_n", "reno", "fk", "svdd", "rlg"}; }

Tensor steer(Diffusion& policy, const Fields& context, const Tensor& noise, uint64_t seed, double eta,
             const SteerOptions& options, const RewardOfSample& reward) {
  if (options.method == "rlg") return reinforced(policy, context, noise, seed, eta, options);
  if (!reward) bad_input("--reward", options.method, " needs rewards: a YAML file as `rft score` takes it");
  if (policy.pipeline().scheduler->multistep())
    bad_input("--scheduler", "steering needs a scheduler whose steps stand alone (ddim, ddpm, euler, ...)");
  Steering steering(policy, context, seed, eta, options, reward);
  if (options.method == "best_of_n") return steering.best_of_n(noise);
  if (options.method == "reno") return steering.reno(noise);
  return options.method == "fk" ? steering.fk(noise) : steering.svdd(noise);
}

}  // namespace rft
