#include "rft/diffusion/scheduler.h"

#include <ATen/ATen.h>

#include <regex>

#include "diffusion/schedulers.h"
#include "rft/core/error.h"
#include "rft/core/text.h"

namespace rft {
namespace {

struct Kind {
  const char *name, *class_name;
  std::unique_ptr<Scheduler> (*make)(const std::string& json, ModelConfig& config);
  bool flow = false;
};

const std::vector<Kind>& kinds() {
  static const std::vector<Kind> table = {
      {"ddim", "DDIMScheduler", make_ddim},
      {"ddpm", "DDPMScheduler", make_ddpm},
      {"euler", "EulerDiscreteScheduler", make_euler},
      {"euler_ancestral", "EulerAncestralDiscreteScheduler", make_euler_ancestral},
      {"dpmsolver++", "DPMSolverMultistepScheduler", make_dpm_solver},
      {"pndm", "PNDMScheduler", make_pndm},
      {"lcm", "LCMScheduler", make_lcm},
      {"flow_match_euler", "FlowMatchEulerDiscreteScheduler", make_flow_match_euler, true},
  };
  return table;
}

/// Fields of schedulers of discrete-time models. Files carry those of
/// schedulers they were made from, and diffusers passes over what the chosen
/// one does not have.
void pass_over_other_schedulers(ModelConfig& config) {
  config.ignore({"algorithm_type",
                 "clip_sample",
                 "clip_sample_range",
                 "disable_corrector",
                 "dynamic_thresholding_ratio",
                 "euler_at_final",
                 "final_sigmas_type",
                 "flow_shift",
                 "interpolation_type",
                 "lambda_min_clipped",
                 "lower_order_final",
                 "original_inference_steps",
                 "predict_x0",
                 "rescale_betas_zero_snr",
                 "sample_max_value",
                 "set_alpha_to_one",
                 "shift_terminal",
                 "sigma_max",
                 "sigma_min",
                 "skip_prk_steps",
                 "solver_order",
                 "solver_p",
                 "solver_type",
                 "steps_offset",
                 "thresholding",
                 "time_shift_type",
                 "timestep_scaling",
                 "timestep_spacing",
                 "timestep_type",
                 "use_beta_sigmas",
                 "use_dynamic_shifting",
                 "use_exponential_sigmas",
                 "use_flow_sigmas",
                 "use_karras_sigmas",
                 "use_lu_lambdas",
                 "variance_type"});
}

/// Python writes lambda_min_clipped's default as -Infinity, which is not JSON.
std::string without_infinity(const std::string& json) {
  static const std::regex pattern(R"(("lambda_min_clipped"\s*:\s*)-Infinity)");
  return std::regex_replace(json, pattern, "$1null");
}

const Kind* by_class(const std::string& class_name) {
  for (const Kind& kind : kinds())
    if (class_name == kind.class_name) return &kind;
  return nullptr;
}

const Kind& chosen(const std::string& name, const std::string& class_name, const std::string& where) {
  if (name.empty()) {
    if (const Kind* kind = by_class(class_name)) return *kind;
    std::vector<std::string> known;
    for (const Kind& kind : kinds()) known.push_back(kind.class_name);
    bad_input(where, "the scheduler '", class_name, "' is not supported", suggestion(class_name, known),
              "; choose one of ", join(scheduler_names(), ", "), " in its place");
  }
  for (const Kind& kind : kinds())
    if (name == kind.name) return kind;
  bad_input(where, "there is no scheduler '", name, "'", suggestion(name, scheduler_names()));
}

}  // namespace

Tensor Scheduler::scale_input(const Tensor& x, const Plan&, int64_t) const { return x; }

std::vector<std::string> scheduler_names() {
  std::vector<std::string> out;
  for (const Kind& kind : kinds()) out.emplace_back(kind.name);
  return out;
}

std::unique_ptr<Scheduler> make_scheduler(const std::string& config_json, const std::string& name,
                                          const std::string& where) {
  ModelConfig config(without_infinity(config_json), where);
  std::string class_name = config.text("_class_name", "");
  const Kind& kind = chosen(name, class_name, where);
  bool from_flow = class_name.starts_with("FlowMatch");
  if (!class_name.empty() && from_flow != kind.flow)
    bad_input(where, "'", kind.name, "' is for models that ", kind.flow ? "are flows" : "predict noise",
              ", and this model's ", class_name, " is not");
  auto out = kind.make(config_json, config);
  if (!kind.flow) pass_over_other_schedulers(config);
  config.finish();
  return out;
}

}  // namespace rft
