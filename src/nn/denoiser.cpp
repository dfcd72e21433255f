#include "rft/nn/denoiser.h"

#include <nlohmann/json.hpp>

#include "nn/denoisers.h"
#include "rft/core/error.h"
#include "rft/core/text.h"

namespace rft {

std::unique_ptr<Denoiser> make_denoiser(const std::string& config_json, const WeightSource& source,
                                        const std::string& where) {
  using Make = std::unique_ptr<Denoiser> (*)(const std::string&, const WeightSource&, const std::string&);
  static const std::vector<std::pair<std::string, Make>> known = {
      {"UNet2DModel", make_unet2d},        {"UNet2DConditionModel", make_unet2d_condition},
      {"SD3Transformer2DModel", make_sd3}, {"FluxTransformer2DModel", make_flux},
      {"DiTTransformer2DModel", make_dit}, {"Transformer2DModel", make_dit},  // what older DiT directories call it
  };
  auto json = nlohmann::json::parse(config_json, nullptr, false);
  if (!json.is_object()) bad_input(where, "config.json is not a JSON object");
  std::string name = json.contains("_class_name") && json["_class_name"].is_string() ? json["_class_name"] : "";
  std::vector<std::string> names;
  for (const auto& [class_name, make] : known) {
    if (class_name == name) return make(config_json, source, where);
    names.push_back(class_name);
  }
  bad_input(where, "there is no denoiser '", name, "' (config.json's _class_name)", suggestion(name, names));
}

}  // namespace rft
