// Sampling runs: from noise to pictures.
#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

#include <cmath>

#include "policy/denoise.h"
#include "policy/weight_average.h"
#include "rft/core/error.h"
#include "rft/core/extra.h"
#include "rft/core/noise.h"
#include "rft/core/rng.h"

namespace rft {
namespace {

/// Image-to-image goes through the last share `strength` of a run alone; how many steps that is, diffusers' pipelines
/// of flow models round up and the others down.
void leave_out_first(Scheduler::Plan& plan, double strength, bool flow) {
  const auto steps = static_cast<double>(plan.steps());
  auto left_out = static_cast<int64_t>(flow ? steps - steps * strength : steps - std::floor(steps * strength));
  if (left_out >= plan.steps())
    bad_input("rollout.strength", "of ", plan.steps(), " steps a share of ", strength, " leaves none; take more steps");
  auto drop = [&](std::vector<double>& x) { x.erase(x.begin(), x.begin() + left_out); };
  drop(plan.timesteps);
  if (!plan.sigmas.empty()) drop(plan.sigmas);
  plan.left_out = left_out;
}

/// What a version's random numbers are used for, far from those of diffusion_path.cpp.
constexpr uint64_t kWindow = 1u << 21;

Tensor rows_of(const Tensor& x, int64_t first, int64_t rows) { return x.defined() ? x.narrow(0, first, rows) : x; }

}  // namespace

Tensor Diffusion::noise(int64_t rows, uint64_t seed) const { return start(row_keys(seed, 0, rows)); }

Tensor Diffusion::start(const std::vector<uint64_t>& keys) const {
  int64_t f = pipeline_.factor();
  return standard_normal(keys, {pipeline_.denoiser->in_channels(), height() / f, width() / f}).to(latent_type());
}

DenoisingModel Diffusion::model() const {
  return {*pipeline_.denoiser, pipeline_.controlnet.get(), options_.control_scale, mixture_};
}

Conditioning Diffusion::told(const Fields& context) {
  Conditioning out = conditioner_->of(context, height(), width());
  if (pipeline_.denoiser->takes_guidance()) out.guidance = at::full({context.rows()}, rollout_.guidance, at::kFloat);
  return out;
}

DenoisingRun Diffusion::begin(const Fields& context, double eta) {
  int64_t f = pipeline_.factor(), tokens = pipeline_.scheduler->flow() ? (height() / f / 2) * (width() / f / 2) : 0;
  StepOptions options{eta > 0 && !rollout_.sde.empty() ? rollout_.sde : "default", eta};
  DenoisingRun run{*pipeline_.scheduler,
                   pipeline_.scheduler->plan(rollout_.steps, tokens),
                   options,
                   rollout_.guidance,
                   told(context),
                   std::nullopt};
  if (rollout_.guidance > 1 && !pipeline_.denoiser->takes_guidance())
    run.nothing = conditioner_->none(context, height(), width());
  if (context.has("start")) leave_out_first(run.plan, rollout_.strength, run.scheduler.flow());
  return run;
}

Tensor Diffusion::decode(const Tensor& latents) const {
  Tensor images = latents;
  if (pipeline_.codec)
    images = film_strips(pipeline_.codec->decode(film_frames(latents, rollout_.frames)), rollout_.frames);
  images = images.to(at::promote_types(images.scalar_type(), at::kFloat)).div(2).add(0.5).clamp(0, 1);
  return images.size(1) == 1 ? images.expand({images.size(0), 3, images.size(2), images.size(3)}) : images;
}

Tensor Diffusion::run(const Fields& context, const Tensor& noise, const Tensor& step_noise, uint64_t seed, double eta,
                      const std::function<void(int64_t)>& progress) {
  at::NoGradGuard no_grad;
  DenoisingRun run = begin(context, eta);
  auto keys = row_keys(seed, 0, noise.size(0));
  Tensor x = first_sample(run, noise, context.find("start"));
  StepHistory history;
  for (int64_t i = 0; i < run.plan.steps(); ++i) {
    Transition step = transition(model(), run, i, x, history);
    x = step_noise.defined() ? draw_next(step, step_noise[i]) : next_sample(step, keys, i);
    if (progress) progress(i + 1);
  }
  return x;
}

Experience Diffusion::sample(const Experience& contexts, const SampleRequest& request) {
  at::NoGradGuard no_grad;
  const bool behaves = !request.greedy && rollout_.behaviour_decay > 0;
  if (behaves && behaviour_->empty()) behaviour_->add(trained(), 1);
  if (behaves) behaviour_->swap(trained());
  Experience out = run_rollout(contexts, request);
  if (rollout_.judge == "forward") judge_finished(out, request);
  if (behaves) behaviour_->swap(trained()), out.extra.set("version", at::full({out.rows()}, -1, at::kLong));
  return out;
}

/// A rollout becomes its finished samples, to be judged as demonstrations are: by the policy that made them here.
void Diffusion::judge_finished(Experience& out, const SampleRequest& request) {
  const int64_t B = out.rows(), T = rollout_.levels;
  Tensor finished = out.action.select(1, out.action.size(1) - 1).unsqueeze(1);
  auto shape = finished.sizes().vec();
  shape[1] = T;
  out.action = finished.expand(shape).contiguous();
  out.mask = at::ones({B, T}, at::kBool);
  out.context.erase("noise");
  out.extra.set(extra::draw, group_draws(request.seed, B / request.group_size, request.group_size,
                                         rollout_.shared_noise, request.first_context));
  Evaluation judged = judge_demonstrations(model(), out, true);
  out.logp = judged.logp;
  out.extra.set(extra::old_estimate, judged.extra.tensor(extra::estimate));
}

/// Which steps of this rollout may be random. Throws UserError where the window doesn't fit into the run, or where the
/// scheduler's steps are random whatever they are asked.
std::vector<bool> Diffusion::windowed_steps(const DenoisingRun& run) const {
  const Window& window = rollout_.window;
  const int64_t T = run.plan.steps(), fits = T - window.size, last = std::min(window.last.value_or(fits), fits);
  if (window.first > last)
    bad_input("rollout.window", "of ", window.size, " steps can't begin at step ", window.first, ": the run has ", T,
              " steps", window.last ? cat(", and last is ", *window.last) : "");
  int64_t begin = window.first;
  if (window.move == "slide") begin += version_ / window.every % (last - window.first + 1);
  if (window.move == "random") begin = draw_between(window.first, last, version_, kWindow);
  DenoisingRun still = run;
  still.random.assign(static_cast<size_t>(T), false);
  for (int64_t i = 0; i < T; ++i)
    if (step_std(still, i) > 0)
      bad_input("rollout.window",
                "this scheduler's steps are random whatever they are asked; use ddim, or a flow model");
  for (int64_t i = begin; i < begin + window.size; ++i) still.random[static_cast<size_t>(i)] = true;
  return still.random;
}

Experience Diffusion::run_rollout(const Experience& contexts, const SampleRequest& request) {
  int64_t groups = contexts.context.rows(), B = groups * request.group_size;
  Experience out;
  out.group = at::arange(groups, at::kLong).repeat_interleave(request.group_size);
  out.context = contexts.context.select(out.group);
  Tensor start = this->start(row_keys(request.seed, request.first_row(), B));
  out.context.set("noise", start);
  DenoisingRun all = begin(out.context, request.greedy ? rollout_.eval_eta.value_or(rollout_.eta) : rollout_.eta);
  if (rollout_.has_window && !request.greedy) all.random = windowed_steps(all);
  int64_t T = all.plan.steps(), at_once = rollout_.sampling_batch_size > 0 ? rollout_.sampling_batch_size : B;
  std::vector<Tensor> actions, logps, images;
  for (int64_t first = 0; first < B; first += at_once) {
    int64_t rows = std::min(at_once, B - first);
    DenoisingRun run = rows == B ? all : all.rows(at::arange(first, first + rows));
    auto keys = row_keys(request.seed, request.first_row() + first, rows);
    Tensor x = first_sample(run, start.narrow(0, first, rows), rows_of(out.context.find("start"), first, rows));
    std::vector<Tensor> states, logp;
    StepHistory history;
    for (int64_t i = 0; i < T; ++i) {
      Transition step = transition(model(), run, i, x, history);
      x = next_sample(step, keys, i);
      states.push_back(x);
      logp.push_back(step.std > 0 ? step_logp(step, x, rollout_.logp == "mean") : at::zeros({rows}, x.options()));
      if (request.progress) request.progress(first + rows * (i + 1) / T, (first * T) + rows * (i + 1));
    }
    actions.push_back(at::stack(states, 1)), logps.push_back(at::stack(logp, 1));
    images.push_back(decode(x).contiguous());
  }
  out.action = at::cat(actions), out.logp = at::cat(logps);
  out.extra.set(extra::image, at::cat(images));
  out.extra.set("version", at::full({B}, version_, at::kLong));
  out.mask = at::zeros({B, T}, at::kBool);
  for (int64_t i = 0; i < T; ++i)
    if (step_std(all, i) > 0 && !pipeline_.scheduler->multistep()) out.mask.select(1, i).fill_(true);
  return out;
}

}  // namespace rft
