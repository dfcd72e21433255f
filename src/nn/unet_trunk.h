#pragma once
/// The way down of a text-conditioned U-Net, which a ControlNet has a copy of.
#include <optional>

#include "core/model_config.h"
#include "nn/motion_transformer.h"
#include "nn/resnet_block.h"
#include "nn/spatial_transformer.h"
#include "nn/timestep_embedding.h"
#include "rft/nn/denoiser.h"

namespace rft {

/// What the config.json of UNet2DConditionModel, UNetMotionModel and ControlNetModel have in common.
struct UNetSettings {
  int64_t sample_size, in_channels, out_channels, groups, classes, time_channels, added_time_dim, added_input_dim;
  std::vector<int64_t> channels, layers, heads, cross_dims, transformer_layers;
  std::vector<std::string> down, up;
  std::string mid, activation;
  double eps, mid_scale, freq_shift;
  bool center, flip, scale_shift, linear_projection, text_time;
  int64_t down_padding, mid_transformer_layers;
  bool motion = false, motion_mid = false;  ///< a video model: frames see each other after each block
  int64_t max_frames = 32;
  std::vector<int64_t> motion_heads, motion_layers;
  int64_t mid_motion_layers = 1;

  /// Reads and checks them; the caller reads what else there is, then finishes.
  explicit UNetSettings(ModelConfig& config);

 private:
  void read_motion(ModelConfig& config);
};

/// Blocks of one resolution.
struct UNetLevel {
  std::vector<ResnetBlock> resnets;
  std::vector<SpatialTransformer> attentions;  ///< one a resnet, or none
  std::vector<MotionTransformer> motions;      ///< one a resnet, or none
  std::optional<Downsample> down;
  std::optional<Upsample> up;
};

class UNetTrunk {
 public:
  UNetTrunk(const UNetSettings& settings, const WeightSource& source, const std::string& where);

  struct Embedded {
    Tensor time;         ///< [N, 4 C] after its activation
    Tensor text;         ///< [N, L, D], undefined without text
    int64_t frames = 1;  ///< of a video; N counts frames
  };
  /// `told` has a row a video, `sample` one a frame.
  Embedded embed(const Tensor& sample, const Tensor& timestep, const Conditioning& told, int64_t frames = 1) const;
  /// conv_in(sample) (+ `added`), then down and through the middle: all skips, and the middle's output.
  std::pair<std::vector<Tensor>, Tensor> down(const Tensor& sample, const Embedded& embedded,
                                              const Tensor& added = {}) const;
  /// Block i of a level, recomputed in the backward pass where asked for.
  Tensor block(const UNetLevel& level, size_t i, const Tensor& x, const Embedded& embedded) const;
  UNetLevel level(const WeightSource& source, const std::vector<int64_t>& in, int64_t out, bool attend, size_t heads_of,
                  int64_t transformer_layers) const;
  bool checkpoint = false;

 private:
  Tensor middle(Tensor x, const Embedded& embedded) const;
  MotionTransformer::Shape motion_shape(int64_t channels, size_t level, int64_t layers) const;

  UNetSettings s_;
  Conv2d conv_in_;
  TimestepMlp time_, added_;
  Tensor class_embedding_;
  std::vector<UNetLevel> levels_;
  std::vector<ResnetBlock> mid_;
  std::optional<SpatialTransformer> mid_attention_;
  std::optional<MotionTransformer> mid_motion_;
};

}  // namespace rft
