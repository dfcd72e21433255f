#pragma once
/// The architectures that make_image_codec knows.
#include "core/model_config.h"
#include "rft/nn/image_codec.h"

namespace rft {

std::unique_ptr<ImageCodec> make_autoencoder_kl(const std::string& config_json, const WeightSource& source,
                                                const std::string& where);
std::unique_ptr<ImageCodec> make_autoencoder_tiny(const std::string& config_json, const WeightSource& source,
                                                  const std::string& where);

}  // namespace rft
