// AutoencoderKL of diffusers: the autoencoder of Stable Diffusion, SDXL, SD3 and Flux (Rombach et al. 2022,
// arXiv:2112.10752).
#include <ATen/ATen.h>

#include "nn/autoencoder_stages.h"
#include "nn/image_codecs.h"
#include "nn/resnet_block.h"
#include "rft/core/error.h"

namespace rft {
namespace {

constexpr double kCodecEps = 1e-6;

class AutoencoderKL : public StagedCodec {
 public:
  AutoencoderKL(const std::string& json, const WeightSource& source, const std::string& where) {
    json_ = json, where_ = where;
    ModelConfig c(json, where);
    in_channels_ = c.integer("in_channels", 3), out_channels_ = c.integer("out_channels", 3);
    latent_channels_ = c.integer("latent_channels", 4);
    channels_ = c.integers("block_out_channels", {64});
    layers_ = c.integer("layers_per_block", 1), groups_ = c.integer("norm_num_groups", 32);
    activation_ = c.text("act_fn", "silu"), attention_ = c.flag("mid_block_add_attention", true);
    scaling_ = c.number("scaling_factor", 0.18215), shift_ = c.number("shift_factor", 0);
    bool quant = c.flag("use_quant_conv", true), post_quant = c.flag("use_post_quant_conv", true);
    c.only("latents_mean"), c.only("latents_std");
    c.ignore({"force_upcast", "sample_size"});
    check(c);
    c.finish();
    factor_ = int64_t{1} << (channels_.size() - 1);
    use_old_names(source);
    int64_t z = latent_channels_;
    build_encoder(source.in("encoder"));
    if (quant) encoder_.push_back(stage(source.conv("quant_conv", 2 * z, 2 * z, 1)));
    encoder_.push_back([z](const Tensor& moments) { return moments.narrow(1, 0, z); });  // means, then log variances
    if (post_quant) decoder_.push_back(stage(source.conv("post_quant_conv", z, z, 1)));
    build_decoder(source.in("decoder"));
    weights_ = source.finish();
  }

 private:
  void check(ModelConfig& c) const {
    for (auto [key, type] :
         {std::pair("down_block_types", "DownEncoderBlock2D"), {"up_block_types", "UpDecoderBlock2D"}}) {
      auto types = c.texts(key, {type});
      if (types.size() != channels_.size()) c.refuse(key, "must have as many items as `block_out_channels`");
      for (const auto& given : types)
        if (given != type) c.refuse(key, cat("can only be ", type));
    }
    if (channels_.empty()) c.refuse("block_out_channels", "must not be empty");
    if (layers_ < 1) c.refuse("layers_per_block", "must be at least 1");
    if (groups_ < 1) c.refuse("norm_num_groups", "must be at least 1");
    for (int64_t width : channels_)
      if (width < 1 || width % groups_) c.refuse("block_out_channels", "must be multiples of `norm_num_groups`");
    if (scaling_ == 0) c.refuse("scaling_factor", "must not be 0");
    activate(activation_, at::zeros({1}), where_ + ": `act_fn`");
  }

  /// Older directories (Stable Diffusion 1.x) name the attention's layers otherwise.
  static void use_old_names(const WeightSource& source) {
    for (const char* half : {"encoder", "decoder"}) {
      WeightSource at = source.in(half).in("mid_block.attentions.0");
      at.rename("query", "to_q"), at.rename("key", "to_k"), at.rename("value", "to_v");
      at.rename("proj_attn", "to_out.0");
    }
  }

  void add_resnet(std::vector<Stage>& stages, const WeightSource& source, int64_t in, int64_t out) const {
    ResnetBlock::Shape shape{.in = in, .out = out, .groups = groups_, .eps = kCodecEps, .activation = activation_};
    auto block = std::make_shared<ResnetBlock>(source, shape);
    stages.push_back([block](const Tensor& x) { return (*block)(x, {}); });
  }

  void add_middle(std::vector<Stage>& stages, const WeightSource& source) const {
    int64_t width = channels_.back();
    add_resnet(stages, source.in("resnets.0"), width, width);
    if (attention_) {
      auto block = std::make_shared<PixelAttention>(source.in("attentions.0"), width, width, groups_, kCodecEps);
      stages.push_back([block](const Tensor& x) { return (*block)(x); });
    }
    add_resnet(stages, source.in("resnets.1"), width, width);
  }

  void add_end(std::vector<Stage>& stages, const WeightSource& source, int64_t in, int64_t out) const {
    Norm norm = source.norm("conv_norm_out", in);
    Conv2d conv = source.conv("conv_out", in, out, 3, 1, 1);
    stages.push_back([norm, conv, groups = groups_](const Tensor& x) {
      return apply(conv, at::silu(group_norm(norm, x, groups, kCodecEps)));
    });
  }

  void build_encoder(const WeightSource& source) {
    encoder_.push_back(stage(source.conv("conv_in", in_channels_, channels_[0], 3, 1, 1)));
    int64_t in = channels_[0];
    for (size_t i = 0; i < channels_.size(); ++i) {
      WeightSource block = source.in(cat("down_blocks.", i));
      for (int64_t j = 0; j < layers_; ++j, in = channels_[i])
        add_resnet(encoder_, block.in(cat("resnets.", j)), in, channels_[i]);
      if (i + 1 < channels_.size()) encoder_.push_back(Downsample(block.in("downsamplers.0"), in, 0));
    }
    add_middle(encoder_, source.in("mid_block"));
    add_end(encoder_, source, channels_.back(), 2 * latent_channels_);
  }

  void build_decoder(const WeightSource& source) {
    int64_t in = channels_.back();
    decoder_.push_back(stage(source.conv("conv_in", latent_channels_, in, 3, 1, 1)));
    add_middle(decoder_, source.in("mid_block"));
    for (size_t i = 0; i < channels_.size(); ++i) {
      WeightSource block = source.in(cat("up_blocks.", i));
      int64_t out = channels_[channels_.size() - 1 - i];
      for (int64_t j = 0; j <= layers_; ++j, in = out) add_resnet(decoder_, block.in(cat("resnets.", j)), in, out);
      if (i + 1 == channels_.size()) break;
      decoder_.push_back([up = Upsample(block.in("upsamplers.0"), out)](const Tensor& x) { return up(x); });
    }
    add_end(decoder_, source, channels_.front(), out_channels_);
  }

  int64_t out_channels_ = 3, layers_ = 1, groups_ = 32;
  bool attention_ = true;
  std::string activation_;
  std::vector<int64_t> channels_;
};

}  // namespace

std::unique_ptr<ImageCodec> make_autoencoder_kl(const std::string& config_json, const WeightSource& source,
                                                const std::string& where) {
  return std::make_unique<AutoencoderKL>(config_json, source, where);
}

}  // namespace rft
