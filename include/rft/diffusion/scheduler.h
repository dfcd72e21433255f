#pragma once
/// Schedulers: the noise levels of a sampling run, and one step of it as a Gaussian, so that every stochastic step has
/// a log-probability. diffusers' scheduler_config.json in, diffusers' numbers out.
#include <memory>
#include <string>
#include <vector>

#include "rft/core/tensor.h"

namespace rft {

/// One denoising step: x' = mean + std * z with z standard normal.
struct Transition {
  Tensor mean;      ///< [N, C, h, w]
  double std = 0;   ///< 0: the step is deterministic and has no log-probability
  Tensor denoised;  ///< [N, C, h, w] the estimate of the clean sample
  /// [N, C, h, w] where the denoiser predicts variances: takes the place of `std`, which then is the largest variance's
  /// that the schedule allows, above 0 exactly where the step is stochastic.
  Tensor stds = {};
};

/// What multistep methods remember between the steps of one sampling run; empty at its start.
struct StepHistory {
  std::vector<Tensor> outputs;  ///< newest last
};

/// Which stochastic step, and how much noise.
struct StepOptions {
  /// "default": the scheduler's own. For flow models also "flow_grpo" and "dance", stochastic steps with the marginals
  /// of the flow in the limit of many steps (Liu et al. 2025, arXiv:2505.05470; Xue et al. 2025, arXiv:2505.07818), and
  /// "cps", which keeps how much clean sample and noise are in x at any number of them (arXiv:2509.05952).
  std::string sde = "default";
  double eta = 0;  ///< DDIM's eta, or the noise level of the flow SDEs
};

/// Immutable; one object serves all threads. T is num_train_timesteps.
class Scheduler {
 public:
  virtual ~Scheduler() = default;

  /// A sampling run's noise levels.
  struct Plan {
    std::vector<double> timesteps;  ///< what the denoiser is told at step i, [steps]
    std::vector<double> sigmas;     ///< [steps + 1], the last 0, where the scheduler works with them; else empty
    double init_noise_sigma = 1;    ///< standard normal noise is multiplied by it to start
    int64_t left_out = 0;           ///< steps of the run before these, which image-to-image leaves out
    int64_t steps() const { return static_cast<int64_t>(timesteps.size()); }
    int64_t whole_steps() const { return left_out + steps(); }
  };
  /// `image_tokens` is Flux's and SD3's sequence length, for dynamic shifting; 0 elsewhere. Throws UserError where
  /// `steps` is not in 1..T.
  virtual Plan plan(int64_t steps, int64_t image_tokens = 0) const = 0;
  /// What the denoiser is given for x at step i.
  virtual Tensor scale_input(const Tensor& x, const Plan& plan, int64_t i) const;
  /// Step i, in x's dtype; differentiable in `output` (the denoiser's) and x.
  virtual Transition step(const Plan& plan, int64_t i, const Tensor& output, const Tensor& x,
                          const StepOptions& options, StepHistory& history) const = 0;
  /// Whether a step depends on the steps before it: then only its samples can be used, not its log-probabilities.
  virtual bool multistep() const { return false; }
  /// Whether step() needs the second half of the channels of a denoiser that predicts variances.
  virtual bool learned_variance() const { return false; }

  // The forward process, for training, in the denoiser's units: x is what scale_input() gives. `timestep` [N] float.
  /// Clean sample and noise at a noise level: what training inputs are, and image-to-image starts.
  virtual Tensor add_noise(const Tensor& clean, const Tensor& noise, const Tensor& timestep) const = 0;
  /// What the denoiser should have answered: noise, velocity or clean sample.
  virtual Tensor target(const Tensor& clean, const Tensor& noise, const Tensor& timestep) const = 0;
  /// The clean sample that an answer means.
  virtual Tensor denoised(const Tensor& x, const Tensor& output, const Tensor& timestep) const = 0;
  /// The timesteps [N] that uniform numbers u [N] in [0, 1) stand for: training draws noise levels with it.
  virtual Tensor training_timesteps(const Tensor& u) const = 0;
  virtual bool flow() const { return false; }  ///< velocity between data and noise, timestep = sigma * T

  /// scheduler_config.json as read (or made).
  virtual const std::string& config_json() const = 0;
};

/// From scheduler_config.json. `name` "" is its _class_name; else one of scheduler_names(), with the file's noise
/// schedule. Throws UserError naming `where` and the field for what is not supported.
std::unique_ptr<Scheduler> make_scheduler(const std::string& config_json, const std::string& name,
                                          const std::string& where);
/// "ddim", "ddpm", "euler", "euler_ancestral", "dpmsolver++", "pndm", "lcm", "flow_match_euler".
std::vector<std::string> scheduler_names();

/// The next sample: mean + std * z, z [N, C, h, w] standard normal; the mean where the step is deterministic.
Tensor draw_next(const Transition& transition, const Tensor& z);

/// [N]: log-density of `next` under the step, nats; summed over all but the first dimension, or averaged as
/// ddpo-pytorch and flow_grpo do. transition.std must be above 0. Computed in float32 or wider.
Tensor step_logp(const Transition& transition, const Tensor& next, bool mean_over_dimensions);

/// [N]: KL divergence of a step from `other`, another model's at the same place, nats; summed over all but the first
/// dimension, or averaged.
Tensor step_kl(const Transition& step, const Transition& other, bool mean_over_dimensions);

}  // namespace rft
