#pragma once
/// The architectures that make_denoiser knows.
#include "rft/nn/denoiser.h"

namespace rft {

std::unique_ptr<Denoiser> make_unet2d(const std::string& config_json, const WeightSource& source,
                                      const std::string& where);
std::unique_ptr<Denoiser> make_unet2d_condition(const std::string& config_json, const WeightSource& source,
                                                const std::string& where);
std::unique_ptr<Denoiser> make_sd3(const std::string& config_json, const WeightSource& source,
                                   const std::string& where);
std::unique_ptr<Denoiser> make_flux(const std::string& config_json, const WeightSource& source,
                                    const std::string& where);
std::unique_ptr<Denoiser> make_dit(const std::string& config_json, const WeightSource& source,
                                   const std::string& where);

}  // namespace rft
