#pragma once
/// One maker for each scheduler: each reads its own fields of scheduler_config.json; `json` is kept as the text.
#include <memory>

#include "core/model_config.h"
#include "rft/diffusion/scheduler.h"

namespace rft {

std::unique_ptr<Scheduler> make_ddim(const std::string& json, ModelConfig& config);
std::unique_ptr<Scheduler> make_ddpm(const std::string& json, ModelConfig& config);
std::unique_ptr<Scheduler> make_euler(const std::string& json, ModelConfig& config);
std::unique_ptr<Scheduler> make_euler_ancestral(const std::string& json, ModelConfig& config);
std::unique_ptr<Scheduler> make_dpm_solver(const std::string& json, ModelConfig& config);
std::unique_ptr<Scheduler> make_pndm(const std::string& json, ModelConfig& config);
std::unique_ptr<Scheduler> make_lcm(const std::string& json, ModelConfig& config);
std::unique_ptr<Scheduler> make_flow_match_euler(const std::string& json, ModelConfig& config);

}  // namespace rft
