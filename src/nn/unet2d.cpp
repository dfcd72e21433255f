// UNet2DModel of diffusers: pixels or latents, with classes, without text (Ho et al. 2020, arXiv:2006.11239).
#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

#include <optional>

#include "core/model_config.h"
#include "nn/denoisers.h"
#include "nn/resnet_block.h"
#include "nn/timestep_embedding.h"
#include "rft/core/error.h"
#include "rft/nn/recompute.h"

namespace rft {
namespace {

struct UNet2DSettings {
  int64_t sample_size, in_channels, out_channels, layers, groups, head_dim, classes;
  std::vector<int64_t> channels;
  std::vector<std::string> down, up;
  double eps, mid_scale;
  std::string activation;
  bool center, flip, scale_shift, mid_attention;
  double freq_shift;
  int64_t down_padding;

  UNet2DSettings(const std::string& json, const std::string& where) {
    ModelConfig c(json, where);
    sample_size = c.integer("sample_size", 0), in_channels = c.integer("in_channels", 3);
    out_channels = c.integer("out_channels", 3), layers = c.integer("layers_per_block", 2);
    channels = c.integers("block_out_channels", {224, 448, 672, 896});
    if (channels.empty()) c.refuse("block_out_channels", "must name at least one level");
    down = c.texts("down_block_types", {"DownBlock2D", "AttnDownBlock2D", "AttnDownBlock2D", "AttnDownBlock2D"});
    up = c.texts("up_block_types", {"AttnUpBlock2D", "AttnUpBlock2D", "AttnUpBlock2D", "UpBlock2D"});
    groups = c.integer("norm_num_groups", 32), head_dim = c.integer("attention_head_dim", 0);
    if (!c.has("attention_head_dim") && json.find("\"attention_head_dim\"") == std::string::npos) head_dim = 8;
    classes = c.integer("num_class_embeds", 0);
    eps = c.number("norm_eps", 1e-5), mid_scale = c.number("mid_block_scale_factor", 1);
    activation = c.text("act_fn", "silu");
    center = c.flag("center_input_sample", false), flip = c.flag("flip_sin_to_cos", true);
    freq_shift = c.number("freq_shift", 0), mid_attention = c.flag("add_attention", true);
    std::string shift = c.text("resnet_time_scale_shift", "default");
    if (shift != "default" && shift != "scale_shift") c.refuse("resnet_time_scale_shift", "is default or scale_shift");
    scale_shift = shift == "scale_shift";
    down_padding = c.integer("downsample_padding", 1);
    c.only("time_embedding_type", {"positional"}), c.only("downsample_type", {"conv"});
    c.only("upsample_type", {"conv"}), c.only("dropout", {0.0}), c.only("class_embed_type"),
        c.only("attn_norm_num_groups");
    c.only("mid_block_type", {"UNetMidBlock2D"}), c.only("time_embedding_dim");
    c.ignore({"num_train_timesteps"});
    c.finish();
    if (down.size() != channels.size() || up.size() != channels.size())
      c.refuse("down_block_types",
               cat("and up_block_types must have ", channels.size(), " entries, as many as block_out_channels"));
  }
};

/// Blocks of one resolution.
struct Level {
  std::vector<ResnetBlock> resnets;
  std::vector<PixelAttention> attentions;  ///< one a resnet, or none
  std::optional<Downsample> down;
  std::optional<Upsample> up;
};

bool has_attention(const std::string& type, const char* with, const char* without, const std::string& where) {
  if (type != with && type != without)
    bad_input(where, "the block '", type, "' is not supported; known: ", with, ", ", without);
  return type == with;
}

class UNet2D : public Denoiser {
 public:
  UNet2D(const std::string& json, const WeightSource& source, const std::string& where) : json_(json), s_(json, where) {
    int64_t first = s_.channels[0], temb = 4 * first;
    conv_in_ = source.conv("conv_in", s_.in_channels, first, 3, 1, 1);
    time_ = TimestepMlp(source.in("time_embedding"), first, temb);
    if (s_.classes) class_embedding_ = source.embedding("class_embedding", s_.classes, temb);
    build_down(source, temb, where), build_mid(source.in("mid_block"), temb), build_up(source, temb, where);
    norm_out_ = source.norm("conv_norm_out", first);
    conv_out_ = source.conv("conv_out", first, s_.out_channels, 3, 1, 1);
    weights_ = source.finish();
  }

  Tensor forward(const Tensor& sample, const Tensor& timestep, const Conditioning& told,
                 const ControlResiduals* control) const override {
    if (control) bad_input("controlnet", "a UNet2DModel takes none; use a UNet2DConditionModel");
    Tensor temb = embed(sample, timestep, told);
    Tensor x = apply(conv_in_, s_.center ? sample.mul(2).sub(1) : sample);
    std::vector<Tensor> skips{x};
    for (const Level& level : down_) {
      for (size_t i = 0; i < level.resnets.size(); ++i) skips.push_back(x = block(level, i, x, temb));
      if (level.down) skips.push_back(x = (*level.down)(x));
    }
    x = mid_[0](x, temb);
    if (mid_attention_) x = (*mid_attention_)(x);
    x = mid_[1](x, temb);
    for (const Level& level : up_) {
      for (size_t i = 0; i < level.resnets.size(); ++i) {
        x = block(level, i, at::cat({x, skips.back()}, 1), temb);
        skips.pop_back();
      }
      if (level.up) x = (*level.up)(x, skips.back().sizes().slice(2));
    }
    x = activate(s_.activation, group_norm(norm_out_, x, s_.groups, s_.eps), "config.json");
    return apply(conv_out_, x);
  }

  const Weights& weights() const override { return weights_; }
  const std::string& config_json() const override { return json_; }
  int64_t in_channels() const override { return s_.in_channels; }
  int64_t out_channels() const override { return s_.out_channels; }
  int64_t sample_size() const override { return s_.sample_size; }
  int64_t num_classes() const override { return s_.classes; }
  void set_gradient_checkpointing(bool on) override { checkpoint_ = on; }

 private:
  ResnetBlock::Shape shape(int64_t in, int64_t out, int64_t temb) const {
    return {in, out, temb, s_.groups, s_.eps, s_.activation, s_.scale_shift, 1};
  }
  PixelAttention attention(const WeightSource& source, int64_t channels) const {
    return {source, channels, s_.head_dim ? s_.head_dim : channels, s_.groups, s_.eps};
  }

  void build_down(const WeightSource& source, int64_t temb, const std::string& where) {
    int64_t in = s_.channels[0];
    for (size_t i = 0; i < s_.channels.size(); ++i) {
      WeightSource at = source.in("down_blocks." + std::to_string(i));
      bool attend = has_attention(s_.down[i], "AttnDownBlock2D", "DownBlock2D", where);
      Level level;
      for (int64_t j = 0; j < s_.layers; ++j, in = s_.channels[i]) {
        level.resnets.emplace_back(at.in("resnets." + std::to_string(j)), shape(in, s_.channels[i], temb));
        if (attend) level.attentions.push_back(attention(at.in("attentions." + std::to_string(j)), s_.channels[i]));
      }
      if (i + 1 < s_.channels.size()) level.down.emplace(at.in("downsamplers.0"), s_.channels[i], s_.down_padding);
      down_.push_back(std::move(level));
    }
  }

  void build_mid(const WeightSource& source, int64_t temb) {
    int64_t wide = s_.channels.back();
    auto mid = shape(wide, wide, temb);
    mid.output_scale = s_.mid_scale;
    mid_.emplace_back(source.in("resnets.0"), mid);
    if (s_.mid_attention)
      mid_attention_.emplace(source.in("attentions.0"), wide, s_.head_dim ? s_.head_dim : wide,
                             s_.scale_shift ? 0 : s_.groups, s_.eps, s_.mid_scale);  // as the peer has it
    mid_.emplace_back(source.in("resnets.1"), mid);
  }

  void build_up(const WeightSource& source, int64_t temb, const std::string& where) {
    std::vector<int64_t> widths(s_.channels.rbegin(), s_.channels.rend());
    int64_t before = widths[0];
    for (size_t i = 0; i < widths.size(); ++i) {
      WeightSource at = source.in("up_blocks." + std::to_string(i));
      bool attend = has_attention(s_.up[i], "AttnUpBlock2D", "UpBlock2D", where);
      int64_t next = widths[std::min(i + 1, widths.size() - 1)];
      Level level;
      for (int64_t j = 0; j <= s_.layers; ++j) {
        int64_t skip = j == s_.layers ? next : widths[i], in = j == 0 ? before : widths[i];
        level.resnets.emplace_back(at.in("resnets." + std::to_string(j)), shape(in + skip, widths[i], temb));
        if (attend) level.attentions.push_back(attention(at.in("attentions." + std::to_string(j)), widths[i]));
      }
      if (i + 1 < widths.size()) level.up.emplace(at.in("upsamplers.0"), widths[i]);
      before = widths[i];
      up_.push_back(std::move(level));
    }
  }

  Tensor embed(const Tensor& sample, const Tensor& timestep, const Conditioning& told) const {
    Tensor temb = time_(sinusoidal(timestep, s_.channels[0], s_.flip, s_.freq_shift).to(sample.scalar_type()));
    if (s_.classes) {
      if (!told.class_labels.defined()) bad_input("class_label", "the model is told a class; the rows have none");
      temb = temb.add(at::embedding(class_embedding_, told.class_labels));
    }
    return activate(s_.activation, temb, "config.json");
  }

  Tensor block(const Level& level, size_t i, const Tensor& x, const Tensor& temb) const {
    BodyOfMany body = [&level, i](const std::vector<Tensor>& in) {
      Tensor h = level.resnets[i](in[0], in[1]);
      return level.attentions.empty() ? h : level.attentions[i](h);
    };
    std::vector<Tensor> inputs{x, temb};
    return checkpoint_ && c10::GradMode::is_enabled() ? recompute_in_backward(body, inputs) : body(inputs);
  }

  std::string json_;
  UNet2DSettings s_;
  Conv2d conv_in_, conv_out_;
  Norm norm_out_;
  TimestepMlp time_;
  Tensor class_embedding_;
  std::vector<Level> down_, up_;
  std::vector<ResnetBlock> mid_;
  std::optional<PixelAttention> mid_attention_;
  Weights weights_;
  bool checkpoint_ = false;
};

}  // namespace

std::unique_ptr<Denoiser> make_unet2d(const std::string& config_json, const WeightSource& source,
                                      const std::string& where) {
  return std::make_unique<UNet2D>(config_json, source, where);
}

}  // namespace rft
