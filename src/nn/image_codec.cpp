#include "rft/nn/image_codec.h"

#include "nn/image_codecs.h"
#include "rft/core/error.h"
#include "rft/core/text.h"

namespace rft {

std::unique_ptr<ImageCodec> make_image_codec(const std::string& config_json, const WeightSource& source,
                                             const std::string& where) {
  std::string name = ModelConfig(config_json, where).text("_class_name", "");
  if (name == "AutoencoderKL") return make_autoencoder_kl(config_json, source, where);
  if (name == "AutoencoderTiny") return make_autoencoder_tiny(config_json, source, where);
  bad_input(where, "there is no autoencoder '", name, "' (config.json's _class_name)",
            suggestion(name, {"AutoencoderKL", "AutoencoderTiny"}));
}

}  // namespace rft
