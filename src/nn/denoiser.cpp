#include "rft/nn/denoiser.h"

#include <ATen/ATen.h>

#include <nlohmann/json.hpp>

#include "nn/denoisers.h"
#include "rft/core/error.h"
#include "rft/core/text.h"

namespace rft {

void Denoiser::set_frames(int64_t frames) {
  if (frames != 1)
    bad_input("rollout.frames", "the model makes pictures, not videos (a UNetMotionModel does); got ", frames,
              " frames");
}

Tensor film_frames(const Tensor& strips, int64_t frames) {
  if (frames == 1) return strips;
  const int64_t n = strips.size(0), c = strips.size(1), h = strips.size(2) / frames, w = strips.size(3);
  return strips.reshape({n, c, frames, h, w}).transpose(1, 2).reshape({n * frames, c, h, w});
}

Tensor film_strips(const Tensor& frames_of_all, int64_t frames) {
  if (frames == 1) return frames_of_all;
  const int64_t n = frames_of_all.size(0) / frames, c = frames_of_all.size(1), h = frames_of_all.size(2),
                w = frames_of_all.size(3);
  return frames_of_all.reshape({n, frames, c, h, w}).transpose(1, 2).reshape({n, c, frames * h, w});
}

std::unique_ptr<Denoiser> make_denoiser(const std::string& config_json, const WeightSource& source,
                                        const std::string& where) {
  using Make = std::unique_ptr<Denoiser> (*)(const std::string&, const WeightSource&, const std::string&);
  static const std::vector<std::pair<std::string, Make>> known = {
      {"UNet2DModel", make_unet2d},
      {"UNet2DConditionModel", make_unet2d_condition},
      {"UNetMotionModel", make_unet2d_condition},
      {"SD3Transformer2DModel", make_sd3},
      {"FluxTransformer2DModel", make_flux},
      {"DiTTransformer2DModel", make_dit},
      {"Transformer2DModel", make_dit},  // what older DiT directories call it
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
