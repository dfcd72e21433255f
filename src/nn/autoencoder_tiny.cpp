// AutoencoderTiny of diffusers (TAESD): a small autoencoder in a large one's latent space.
#include <ATen/ATen.h>

#include <algorithm>

#include "nn/autoencoder_stages.h"
#include "nn/image_codecs.h"
#include "rft/core/error.h"

namespace rft {
namespace {

class AutoencoderTiny : public StagedCodec {
 public:
  AutoencoderTiny(const std::string& json, const WeightSource& source, const std::string& where) {
    json_ = json, where_ = where;
    ModelConfig c(json, where);
    in_channels_ = c.integer("in_channels", 3), latent_channels_ = c.integer("latent_channels", 4);
    int64_t out_channels = c.integer("out_channels", 3);
    activation_ = c.text("act_fn", "relu");
    scaling_ = c.number("scaling_factor", 1), shift_ = c.number("shift_factor", 0);
    auto down = c.integers("num_encoder_blocks", {1, 3, 3, 3}), up = c.integers("num_decoder_blocks", {3, 3, 3, 1});
    if (down.empty() || down.size() != up.size())
      c.refuse("num_decoder_blocks", "must have as many items as `num_encoder_blocks`");
    int64_t encoder = width(c, "encoder_block_out_channels", down.size());
    int64_t decoder = width(c, "decoder_block_out_channels", up.size());
    c.only("upsample_fn", {"nearest"}), c.only("upsampling_scaling_factor", {2});
    // latent_magnitude and latent_shift are for storing latents as bytes.
    c.ignore({"block_out_channels", "force_upcast", "latent_magnitude", "latent_shift"});
    if (scaling_ == 0) c.refuse("scaling_factor", "must not be 0");
    activate(activation_, at::zeros({1}), where + ": `act_fn`");
    c.finish();
    factor_ = int64_t{1} << (down.size() - 1);
    build_encoder(source.in("encoder.layers"), down, encoder);
    build_decoder(source.in("decoder.layers"), up, decoder, out_channels);
    weights_ = source.finish();
  }

 private:
  /// All blocks have one width: no layer of diffusers' goes from one width to another.
  static int64_t width(ModelConfig& c, const char* key, size_t count) {
    auto widths = c.integers(key, std::vector<int64_t>(count, 64));
    bool equal = std::all_of(widths.begin(), widths.end(), [&](int64_t w) { return w == widths[0] && w > 0; });
    if (widths.size() != count || !equal) c.refuse(key, cat("must be one width, ", count, " times"));
    return widths[0];
  }

  void add_block(std::vector<Stage>& stages, const WeightSource& layers, int64_t width) const {
    WeightSource source = layers.in(std::to_string(stages.size() - 1)).in("conv");
    std::vector<Conv2d> convs;
    for (const char* at : {"0", "2", "4"}) convs.push_back(source.conv(at, width, width, 3, 1, 1));
    stages.push_back([convs, activation = activation_](const Tensor& x) {
      Tensor y = activate(activation, apply(convs[0], x), "act_fn");
      y = activate(activation, apply(convs[1], y), "act_fn");
      return at::relu(apply(convs[2], y).add(x));
    });
  }

  /// Stage i + 1 is "layers.i": stage 0 scales.
  void build_encoder(const WeightSource& layers, const std::vector<int64_t>& blocks, int64_t width) {
    encoder_.push_back([](const Tensor& x) { return x.add(1).div(2); });
    auto name = [&] { return std::to_string(encoder_.size() - 1); };
    for (size_t i = 0; i < blocks.size(); ++i) {
      encoder_.push_back(stage(i ? layers.conv(name(), width, width, 3, 2, 1, false)
                                 : layers.conv(name(), in_channels_, width, 3, 1, 1)));
      for (int64_t j = 0; j < blocks[i]; ++j) add_block(encoder_, layers, width);
    }
    encoder_.push_back(stage(layers.conv(name(), width, latent_channels_, 3, 1, 1)));
  }

  void build_decoder(const WeightSource& layers, const std::vector<int64_t>& blocks, int64_t width, int64_t out) {
    decoder_.push_back([](const Tensor& x) { return x.div(3).tanh().mul(3); });
    auto name = [&] { return std::to_string(decoder_.size() - 1); };
    decoder_.push_back(stage(layers.conv(name(), latent_channels_, width, 3, 1, 1)));
    decoder_.push_back([activation = activation_](const Tensor& x) { return activate(activation, x, "act_fn"); });
    for (size_t i = 0; i < blocks.size(); ++i) {
      bool last = i + 1 == blocks.size();
      for (int64_t j = 0; j < blocks[i]; ++j) add_block(decoder_, layers, width);
      if (!last)
        decoder_.push_back([](const Tensor& x) { return at::upsample_nearest2d(x, {2 * x.size(2), 2 * x.size(3)}); });
      decoder_.push_back(stage(layers.conv(name(), width, last ? out : width, 3, 1, 1, last)));
    }
    decoder_.push_back([](const Tensor& x) { return x.mul(2).sub(1); });
  }

  std::string activation_;
};

}  // namespace

std::unique_ptr<ImageCodec> make_autoencoder_tiny(const std::string& config_json, const WeightSource& source,
                                                  const std::string& where) {
  return std::make_unique<AutoencoderTiny>(config_json, source, where);
}

}  // namespace rft
