// UNet2DConditionModel of diffusers: Stable Diffusion's and SDXL's denoiser (Rombach et al. 2022, arXiv:2112.10752;
// Podell et al. 2023, arXiv:2307.01952), and UNetMotionModel, the same with motion modules for videos (AnimateDiff, Guo
// et al. 2023, arXiv:2307.04725).
#include <ATen/ATen.h>

#include "nn/denoisers.h"
#include "nn/unet_trunk.h"
#include "rft/core/error.h"

namespace rft {
namespace {

UNetSettings read_settings(const std::string& json, const std::string& where) {
  ModelConfig c(json, where);
  UNetSettings s(c);
  size_t levels = s.channels.size();
  s.out_channels = c.integer("out_channels", 4);
  const std::string kind = s.motion ? "Motion" : "2D", with = "CrossAttnUpBlock" + kind;
  s.up = c.texts("up_block_types", {"UpBlock" + kind, with, with, with});
  if (s.up.size() != levels) c.refuse("up_block_types", cat("must have ", levels, " entries, one a level"));
  c.only("reverse_transformer_layers_per_block"), c.only("dual_cross_attention", {false});
  c.only("resnet_skip_time_act", {false}), c.only("resnet_out_scale_factor", {1.0, 1});
  c.only("time_embedding_type", {"positional"}), c.only("time_embedding_dim"), c.only("time_embedding_act_fn");
  c.only("timestep_post_act"), c.only("time_cond_proj_dim"), c.only("conv_in_kernel", {3});
  c.only("conv_out_kernel", {3}), c.only("attention_type", {"default"}), c.only("class_embeddings_concat", {false});
  c.only("mid_block_only_cross_attention", {false}), c.only("cross_attention_norm");
  c.finish();
  return s;
}

class UNet2DCondition : public Denoiser {
 public:
  UNet2DCondition(const std::string& json, const WeightSource& source, const std::string& where)
      : json_(json), s_(read_settings(json, where)), trunk_(s_, source, where) {
    std::vector<int64_t> widths(s_.channels.rbegin(), s_.channels.rend());
    size_t levels = widths.size();
    for (size_t i = 0; i < levels; ++i) {
      size_t from = levels - 1 - i;  // the level on the way down
      std::vector<int64_t> in;
      int64_t count = s_.layers[from] + 1, next = widths[std::min(i + 1, levels - 1)];
      for (int64_t j = 0; j < count; ++j)
        in.push_back((j == 0 ? widths[i ? i - 1 : 0] : widths[i]) + (j + 1 == count ? next : widths[i]));
      const std::string &type = s_.up[i], kind = s_.motion ? "Motion" : "2D", with = "CrossAttnUpBlock" + kind;
      if (type != with && type != "UpBlock" + kind)
        bad_input(where, "the block '", type, "' is not supported; known: ", with, ", UpBlock", kind);
      WeightSource at = source.in("up_blocks." + std::to_string(i));
      up_.push_back(trunk_.level(at, in, widths[i], type == with, from, s_.transformer_layers[from]));
      if (i + 1 < levels) up_.back().up.emplace(at.in("upsamplers.0"), widths[i]);
    }
    norm_out_ = source.norm("conv_norm_out", s_.channels[0]);
    conv_out_ = source.conv("conv_out", s_.channels[0], s_.out_channels, 3, 1, 1);
    weights_ = source.finish();
  }

  Tensor forward(const Tensor& sample, const Tensor& timestep, const Conditioning& told,
                 const ControlResiduals* control) const override {
    return film_strips(run(film_frames(sample, frames_), timestep, told, control), frames_);
  }

  Tensor run(const Tensor& sample, const Tensor& timestep, const Conditioning& told,
             const ControlResiduals* control) const {
    auto embedded = trunk_.embed(sample, timestep, told, frames_);
    auto [skips, x] = trunk_.down(sample, embedded);
    if (control) {
      if (control->down.size() != skips.size())
        bad_input("controlnet", "it gives ", control->down.size(), " residuals, the U-Net takes ", skips.size());
      for (size_t i = 0; i < skips.size(); ++i) skips[i] = skips[i].add(control->down[i]);
      x = x.add(control->mid);
    }
    for (const UNetLevel& level : up_) {
      for (size_t i = 0; i < level.resnets.size(); ++i) {
        x = trunk_.block(level, i, at::cat({x, skips.back()}, 1), embedded);
        skips.pop_back();
      }
      if (level.up) x = (*level.up)(x, skips.back().sizes().slice(2));
    }
    return apply(conv_out_, activate(s_.activation, group_norm(norm_out_, x, s_.groups, s_.eps), "act_fn"));
  }

  const Weights& weights() const override { return weights_; }
  const std::string& config_json() const override { return json_; }
  int64_t in_channels() const override { return s_.in_channels; }
  int64_t out_channels() const override { return s_.out_channels; }
  int64_t sample_size() const override { return s_.sample_size; }
  int64_t num_classes() const override { return s_.classes; }
  void set_gradient_checkpointing(bool on) override { trunk_.checkpoint = on; }
  void set_frames(int64_t frames) override {
    if (!s_.motion) return Denoiser::set_frames(frames);
    frames_ = frames;
  }

 private:
  std::string json_;
  UNetSettings s_;
  UNetTrunk trunk_;
  int64_t frames_ = 1;
  std::vector<UNetLevel> up_;
  Norm norm_out_;
  Conv2d conv_out_;
  Weights weights_;
};

}  // namespace

std::unique_ptr<Denoiser> make_unet2d_condition(const std::string& config_json, const WeightSource& source,
                                                const std::string& where) {
  return std::make_unique<UNet2DCondition>(config_json, source, where);
}

}  // namespace rft
