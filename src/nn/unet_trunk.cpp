#include "nn/unet_trunk.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

#include "rft/core/error.h"
#include "rft/nn/recompute.h"

namespace rft {
namespace {

bool attends(const std::string& type, const std::string& with, const std::string& without, const std::string& where) {
  if (type != with && type != without)
    bad_input(where, "the block '", type, "' is not supported; known: ", with, ", ", without);
  return type == with;
}

}  // namespace

UNetSettings::UNetSettings(ModelConfig& c) {
  sample_size = c.integer("sample_size", 0), in_channels = c.integer("in_channels", 4);
  channels = c.integers("block_out_channels", {320, 640, 1280, 1280});
  if (channels.empty()) c.refuse("block_out_channels", "must name at least one level");
  size_t levels = channels.size();
  motion = c.text("_class_name", "") == "UNetMotionModel";
  const std::string kind = motion ? "Motion" : "2D", with = "CrossAttnDownBlock" + kind;
  down = c.texts("down_block_types", {with, with, with, "DownBlock" + kind});
  if (down.size() != levels) c.refuse("down_block_types", cat("must have ", levels, " entries, one a level"));
  layers = c.integers("layers_per_block", std::vector<int64_t>(levels, 2), levels);
  const char* heads_key = c.has("num_attention_heads") ? "num_attention_heads" : "attention_head_dim";
  heads = c.integers(heads_key, std::vector<int64_t>(levels, 8), levels);
  c.ignore({"attention_head_dim"});  // in these models a number of heads, and overruled by num_attention_heads
  cross_dims = c.integers("cross_attention_dim", std::vector<int64_t>(levels, 1280), levels);
  transformer_layers = c.integers("transformer_layers_per_block", std::vector<int64_t>(levels, 1), levels);
  mid_transformer_layers = c.has("transformer_layers_per_mid_block") && motion
                               ? c.integer("transformer_layers_per_mid_block", 1)
                               : transformer_layers.back();
  if (motion) read_motion(c);
  mid = c.text("mid_block_type", "UNetMidBlock2DCrossAttn"), activation = c.text("act_fn", "silu");
  groups = c.integer("norm_num_groups", 32), eps = c.number("norm_eps", 1e-5);
  mid_scale = c.number("mid_block_scale_factor", 1), freq_shift = c.number("freq_shift", 0);
  center = c.flag("center_input_sample", false), flip = c.flag("flip_sin_to_cos", true);
  linear_projection = c.flag("use_linear_projection", false), down_padding = c.integer("downsample_padding", 1);
  std::string shift = c.text("resnet_time_scale_shift", "default");
  if (shift != "default" && shift != "scale_shift") c.refuse("resnet_time_scale_shift", "is default or scale_shift");
  scale_shift = shift == "scale_shift";
  classes = c.integer("num_class_embeds", 0), time_channels = 4 * channels[0];
  c.only("addition_embed_type", {"text_time"});
  text_time = c.text("addition_embed_type", "") == "text_time";
  added_time_dim = c.integer("addition_time_embed_dim", 256);
  added_input_dim = c.integer("projection_class_embeddings_input_dim", 0);
  c.only("class_embed_type"), c.only("encoder_hid_dim"), c.only("encoder_hid_dim_type");
  c.only("upcast_attention", {false, true});  // computed in float32 here in any case
  c.only("only_cross_attention", {false}), c.only("dropout", {0.0});
  c.ignore({"addition_embed_type_num_heads"});
}

void UNetSettings::read_motion(ModelConfig& c) {
  size_t levels = channels.size();
  motion_mid = c.flag("use_motion_mid_block", true), max_frames = c.integer("motion_max_seq_length", 32);
  motion_heads = c.integers("motion_num_attention_heads", std::vector<int64_t>(levels, 8), levels);
  motion_layers = c.integers("temporal_transformer_layers_per_block", std::vector<int64_t>(levels, 1), levels);
  mid_motion_layers = c.integer("temporal_transformer_layers_per_mid_block", 1);
  c.only("reverse_temporal_transformer_layers_per_block"), c.only("reverse_motion_num_attention_heads");
  c.only("mid_block_layers", {1});
}

UNetTrunk::UNetTrunk(const UNetSettings& settings, const WeightSource& source, const std::string& where)
    : s_(settings) {
  conv_in_ = source.conv("conv_in", s_.in_channels, s_.channels[0], 3, 1, 1);
  time_ = TimestepMlp(source.in("time_embedding"), s_.channels[0], s_.time_channels);
  if (s_.classes) class_embedding_ = source.embedding("class_embedding", s_.classes, s_.time_channels);
  if (s_.text_time) added_ = TimestepMlp(source.in("add_embedding"), s_.added_input_dim, s_.time_channels);
  int64_t before = s_.channels[0];
  for (size_t i = 0; i < s_.channels.size(); ++i) {
    WeightSource at = source.in("down_blocks." + std::to_string(i));
    std::vector<int64_t> in(static_cast<size_t>(s_.layers[i]), s_.channels[i]);
    if (!in.empty()) in[0] = before;
    const std::string kind = s_.motion ? "Motion" : "2D";
    bool attend = attends(s_.down[i], "CrossAttnDownBlock" + kind, "DownBlock" + kind, where);
    levels_.push_back(level(at, in, s_.channels[i], attend, i, s_.transformer_layers[i]));
    if (i + 1 < s_.channels.size())
      levels_.back().down.emplace(at.in("downsamplers.0"), s_.channels[i], s_.down_padding);
    before = s_.channels[i];
  }
  WeightSource at = source.in("mid_block");
  ResnetBlock::Shape shape{before, before,        s_.time_channels, s_.groups,
                           s_.eps, s_.activation, s_.scale_shift,   s_.mid_scale};
  mid_.emplace_back(at.in("resnets.0"), shape);
  if (!attends(s_.mid, "UNetMidBlock2DCrossAttn", "UNetMidBlock2D", where)) return;
  mid_attention_.emplace(at.in("attentions.0"),
                         SpatialTransformer::Shape{before, s_.heads.back(), s_.mid_transformer_layers,
                                                   s_.cross_dims.back(), s_.groups, s_.linear_projection});
  if (s_.motion_mid)
    mid_motion_.emplace(at.in("motion_modules.0"), motion_shape(before, s_.channels.size() - 1, s_.mid_motion_layers));
  mid_.emplace_back(at.in("resnets.1"), shape);
}

MotionTransformer::Shape UNetTrunk::motion_shape(int64_t channels, size_t level, int64_t layers) const {
  return {channels, s_.motion_heads[level], layers, s_.max_frames, s_.groups};
}

UNetLevel UNetTrunk::level(const WeightSource& source, const std::vector<int64_t>& in, int64_t out, bool attend,
                           size_t heads_of, int64_t transformer_layers) const {
  UNetLevel made;
  for (size_t j = 0; j < in.size(); ++j) {
    std::string number = std::to_string(j);
    made.resnets.emplace_back(
        source.in("resnets." + number),
        ResnetBlock::Shape{in[j], out, s_.time_channels, s_.groups, s_.eps, s_.activation, s_.scale_shift, 1});
    if (attend)
      made.attentions.emplace_back(source.in("attentions." + number),
                                   SpatialTransformer::Shape{out, s_.heads[heads_of], transformer_layers,
                                                             s_.cross_dims[heads_of], s_.groups, s_.linear_projection});
    if (s_.motion)
      made.motions.emplace_back(source.in("motion_modules." + number),
                                motion_shape(out, heads_of, s_.motion_layers[heads_of]));
  }
  return made;
}

UNetTrunk::Embedded UNetTrunk::embed(const Tensor& sample, const Tensor& timestep, const Conditioning& told,
                                     int64_t frames) const {
  auto type = sample.scalar_type();
  Tensor time = time_(sinusoidal(timestep, s_.channels[0], s_.flip, s_.freq_shift).to(type));
  if (s_.classes) {
    if (!told.class_labels.defined()) bad_input("class_label", "the model is told a class; the rows have none");
    time = time.add(at::embedding(class_embedding_, told.class_labels));
  }
  if (s_.text_time) {
    if (!told.pooled.defined() || !told.time_ids.defined())
      bad_input("prompt", "the model is told a pooled text and sizes (SDXL); the rows have none");
    Tensor ids = sinusoidal(told.time_ids.flatten(), s_.added_time_dim, s_.flip, s_.freq_shift);
    ids = ids.view({told.time_ids.size(0), -1}).to(type);
    time = time.add(added_(at::cat({told.pooled.to(type), ids}, 1)));
  }
  Tensor text = told.text.defined() ? told.text.to(type) : Tensor();
  if (frames > 1) time = time.repeat_interleave(frames, 0);
  if (frames > 1 && text.defined()) text = text.repeat_interleave(frames, 0);
  return {activate(s_.activation, time, "act_fn"), text, frames};
}

Tensor UNetTrunk::block(const UNetLevel& level, size_t i, const Tensor& x, const Embedded& embedded) const {
  bool attend = !level.attentions.empty();
  if (attend && !embedded.text.defined()) bad_input("prompt", "the model is told a text; the rows have none");
  if (attend && embedded.text.size(2) != s_.cross_dims.front())
    bad_input("prompt", "the model is told texts of ", s_.cross_dims.front(),
              " numbers a token (cross_attention_dim); ", "the text encoder gives ", embedded.text.size(2));
  BodyOfMany body = [&level, i, attend, frames = embedded.frames](const std::vector<Tensor>& in) {
    Tensor h = level.resnets[i](in[0], in[1]);
    if (attend) h = level.attentions[i](h, in[2]);
    return level.motions.empty() ? h : level.motions[i](h, frames);
  };
  std::vector<Tensor> inputs{x, embedded.time};
  if (attend) inputs.push_back(embedded.text);
  return checkpoint && c10::GradMode::is_enabled() ? recompute_in_backward(body, inputs) : body(inputs);
}

Tensor UNetTrunk::middle(Tensor x, const Embedded& embedded) const {
  x = mid_[0](x, embedded.time);
  if (!mid_attention_) return x;
  x = (*mid_attention_)(x, embedded.text);
  if (mid_motion_) x = (*mid_motion_)(x, embedded.frames);
  return mid_[1](x, embedded.time);
}

std::pair<std::vector<Tensor>, Tensor> UNetTrunk::down(const Tensor& sample, const Embedded& embedded,
                                                       const Tensor& added) const {
  Tensor x = apply(conv_in_, s_.center ? sample.mul(2).sub(1) : sample);
  if (added.defined()) x = x.add(added);
  std::vector<Tensor> skips{x};
  for (const UNetLevel& level : levels_) {
    for (size_t i = 0; i < level.resnets.size(); ++i) skips.push_back(x = block(level, i, x, embedded));
    if (level.down) skips.push_back(x = (*level.down)(x));
  }
  return {skips, middle(x, embedded)};
}

}  // namespace rft
