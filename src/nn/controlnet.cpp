#include "rft/nn/controlnet.h"

#include <ATen/ATen.h>

#include <nlohmann/json.hpp>

#include "nn/unet_trunk.h"
#include "rft/core/error.h"

namespace rft {
namespace {

struct ControlSettings {
  UNetSettings trunk;
  int64_t channels;
  std::vector<int64_t> embedding;
};

ControlSettings read_control_settings(const std::string& json, const std::string& where) {
  ModelConfig c(json, where);
  ControlSettings s{UNetSettings(c), c.integer("conditioning_channels", 3),
                    c.integers("conditioning_embedding_out_channels", {16, 32, 96, 256})};
  if (s.embedding.empty()) c.refuse("conditioning_embedding_out_channels", "must have at least one entry");
  c.only("controlnet_conditioning_channel_order", {"rgb"}), c.only("global_pool_conditions", {false});
  c.finish();
  return s;
}

/// The control image made as small as the sample.
class ImageEmbedding {
 public:
  ImageEmbedding(const WeightSource& source, int64_t channels, const std::vector<int64_t>& widths, int64_t out)
      : first_(source.conv("conv_in", channels, widths[0], 3, 1, 1)) {
    for (size_t i = 0; i + 1 < widths.size(); ++i) {
      middle_.push_back(source.conv("blocks." + std::to_string(2 * i), widths[i], widths[i], 3, 1, 1));
      middle_.push_back(source.conv("blocks." + std::to_string(2 * i + 1), widths[i], widths[i + 1], 3, 2, 1));
    }
    last_ = source.conv("conv_out", widths.back(), out, 3, 1, 1);
  }
  Tensor operator()(const Tensor& image) const {
    Tensor x = at::silu(apply(first_, image));
    for (const Conv2d& conv : middle_) x = at::silu(apply(conv, x));
    return apply(last_, x);
  }

 private:
  Conv2d first_, last_;
  std::vector<Conv2d> middle_;
};

class ControlNetModel : public ControlNet {
 public:
  ControlNetModel(const std::string& json, const WeightSource& source, const std::string& where)
      : json_(json),
        s_(read_control_settings(json, where)),
        trunk_(s_.trunk, source, where),
        image_(source.in("controlnet_cond_embedding"), s_.channels, s_.embedding, s_.trunk.channels[0]) {
    auto add = [&](int64_t width) {
      down_.push_back(source.conv("controlnet_down_blocks." + std::to_string(down_.size()), width, width, 1));
    };
    add(s_.trunk.channels[0]);
    for (size_t i = 0; i < s_.trunk.channels.size(); ++i) {
      for (int64_t j = 0; j < s_.trunk.layers[i]; ++j) add(s_.trunk.channels[i]);
      if (i + 1 < s_.trunk.channels.size()) add(s_.trunk.channels[i]);
    }
    mid_ = source.conv("controlnet_mid_block", s_.trunk.channels.back(), s_.trunk.channels.back(), 1);
    weights_ = source.finish();
  }

  ControlResiduals forward(const Tensor& sample, const Tensor& timestep, const Conditioning& told,
                           double scale) const override {
    if (!told.control.defined()) bad_input("control", "the ControlNet needs a control image; the rows have none");
    Tensor control = told.control.to(sample.scalar_type());
    if (s_.channels == 1 && control.size(1) == 3) control = control.mean(1, true);
    Tensor image = image_(control);
    if (image.size(2) != sample.size(2) || image.size(3) != sample.size(3))
      bad_input("control", "an image of ", control.size(3), " x ", control.size(2), " pixels becomes ", image.size(3),
                " x ", image.size(2), ", the sample is ", sample.size(3), " x ", sample.size(2));
    auto [skips, middle] = trunk_.down(sample, trunk_.embed(sample, timestep, told), image);
    ControlResiduals out;
    for (size_t i = 0; i < skips.size(); ++i) out.down.push_back(apply(down_[i], skips[i]).mul(scale));
    out.mid = apply(mid_, middle).mul(scale);
    return out;
  }

  const Weights& weights() const override { return weights_; }
  const std::string& config_json() const override { return json_; }
  void set_gradient_checkpointing(bool on) override { trunk_.checkpoint = on; }

 private:
  std::string json_;
  ControlSettings s_;
  UNetTrunk trunk_;
  ImageEmbedding image_;
  std::vector<Conv2d> down_;
  Conv2d mid_;
  Weights weights_;
};

/// What a ControlNet's config.json takes over from its U-Net's.
constexpr const char* kShared[] = {"act_fn",
                                   "addition_embed_type",
                                   "addition_embed_type_num_heads",
                                   "addition_time_embed_dim",
                                   "attention_head_dim",
                                   "block_out_channels",
                                   "class_embed_type",
                                   "cross_attention_dim",
                                   "down_block_types",
                                   "downsample_padding",
                                   "encoder_hid_dim",
                                   "encoder_hid_dim_type",
                                   "flip_sin_to_cos",
                                   "freq_shift",
                                   "in_channels",
                                   "layers_per_block",
                                   "mid_block_scale_factor",
                                   "mid_block_type",
                                   "norm_eps",
                                   "norm_num_groups",
                                   "num_attention_heads",
                                   "num_class_embeds",
                                   "only_cross_attention",
                                   "projection_class_embeddings_input_dim",
                                   "resnet_time_scale_shift",
                                   "transformer_layers_per_block",
                                   "upcast_attention",
                                   "use_linear_projection"};

}  // namespace

std::unique_ptr<ControlNet> make_controlnet(const std::string& config_json, const WeightSource& source,
                                            const std::string& where) {
  return std::make_unique<ControlNetModel>(config_json, source, where);
}

std::pair<std::string, std::map<std::string, Tensor>> controlnet_from_unet(const Denoiser& unet, int64_t channels,
                                                                           const std::vector<int64_t>& embedding,
                                                                           uint64_t seed) {
  auto given = nlohmann::json::parse(unet.config_json());
  if (given.value("_class_name", "") != "UNet2DConditionModel")
    bad_input("controlnet", "it is made from a UNet2DConditionModel; got ", given.value("_class_name", ""));
  nlohmann::json config{{"_class_name", "ControlNetModel"},
                        {"conditioning_channels", channels},
                        {"conditioning_embedding_out_channels", embedding},
                        {"controlnet_conditioning_channel_order", "rgb"},
                        {"global_pool_conditions", false}};
  for (const char* key : kShared)
    if (given.contains(key)) config[key] = given[key];
  std::string json = config.dump(2) + "\n";
  auto made = make_controlnet(json, WeightSource::random(at::kFloat, seed), "controlnet");
  std::map<std::string, Tensor> own(unet.weights().tensors.begin(), unet.weights().tensors.end()), out;
  for (const auto& [name, value] : made->weights().tensors) {
    auto found = own.find(name);
    bool zero = name.starts_with("controlnet_down_blocks.") || name.starts_with("controlnet_mid_block.") ||
                name.starts_with("controlnet_cond_embedding.conv_out.");
    bool copied = found != own.end() && found->second.sizes() == value.sizes();
    out[name] = copied ? found->second.detach().clone() : zero ? at::zeros_like(value) : value;
  }
  return {json, out};
}

}  // namespace rft
