// DiTTransformer2DModel of diffusers: latents with classes (Peebles and Xie 2022, arXiv:2212.09748).
#include <ATen/ATen.h>

#include "core/model_config.h"
#include "nn/denoisers.h"
#include "nn/dit_layers.h"
#include "nn/dit_patches.h"
#include "nn/joint_attention.h"
#include "rft/core/error.h"

namespace rft {
namespace {

constexpr int64_t kNormTimeFeatures = 256;

struct DiTSettings {
  Patches::Shape patches;
  AttentionShape attention;
  int64_t layers, classes;
  bool affine;
  double eps;
  std::string activation;

  DiTSettings(const std::string& json, const std::string& where) {
    ModelConfig c(json, where);
    attention.heads = c.integer("num_attention_heads", 16);
    patches.width = attention.width = attention.heads * c.integer("attention_head_dim", 72);
    attention.bias = c.flag("attention_bias", true);
    patches.in_channels = c.integer("in_channels", 4);
    patches.out_channels = c.integer("out_channels", patches.in_channels);
    patches.sample_size = c.integer("sample_size", 32), patches.patch = c.integer("patch_size", 2);
    layers = c.integer("num_layers", 28), classes = c.integer("num_embeds_ada_norm", 1000);
    affine = c.flag("norm_elementwise_affine", false), eps = c.number("norm_eps", 1e-5);
    activation = c.text("activation_fn", "gelu-approximate");
    c.only("activation_fn", {"gelu-approximate", "gelu"});
    c.only("norm_type", {"ada_norm_zero"}), c.only("dropout", {0.0});
    // What older directories write, whose class is Transformer2DModel.
    c.only("cross_attention_dim"), c.only("num_vector_embeds"), c.only("caption_channels");
    c.only("double_self_attention", {false}), c.only("only_cross_attention", {false});
    c.only("attention_type", {"default"});
    c.ignore({"norm_num_groups", "upcast_attention", "use_linear_projection"});
    c.finish();
    if (attention.width < 1 || attention.width % 4)
      c.refuse("attention_head_dim", "times num_attention_heads must be a multiple of 4");
    if (layers < 1) c.refuse("num_layers", "must be at least 1");
    if (patches.patch < 1 || patches.sample_size < patches.patch)
      c.refuse("patch_size", "must be at least 1 and at most sample_size");
  }
};

struct Block {
  Block(const WeightSource& source, const DiTSettings& s)
      : s(s),
        time(source.in("norm1.emb.timestep_embedder"), kNormTimeFeatures, s.attention.width),
        classes(source.embedding("norm1.emb.class_embedder.embedding_table", s.classes + 1, s.attention.width)),
        norm1(source, "norm1", s.attention.width, 6),
        self(image_stream(source.in("attn1"), s.attention)),
        ff(source, "ff", s.attention.width) {
    if (s.affine) norm3 = source.norm("norm3", s.attention.width);
    ff.activation = s.activation;
  }

  /// Every block has its own idea of noise level and class. features [N, 256], labels [N] -> [N, D], after its SiLU.
  Tensor told(const Tensor& features, const Tensor& labels) const {
    return at::silu(time(features).add(at::embedding(classes, labels)));
  }

  Tensor operator()(const Tensor& x, const Tensor& features, const Tensor& labels) const {
    auto m = norm1(told(features, labels));
    Tensor y = gated(x, m[2], attend({{&self, modulated(x, m[0], m[1])}}, s.attention.heads)[0]);
    Tensor normed = layer_norm(norm3, y, s.eps).mul(m[4].unsqueeze(1).add(1)).add(m[3].unsqueeze(1));
    return gated(y, m[5], ff(normed));
  }

  DiTSettings s;
  TimestepMlp time;
  Tensor classes;  ///< [classes + 1, D]; the last one stands for none
  Modulation norm1;
  AttentionStream self;
  Norm norm3;  ///< undefined unless it has weights
  FeedForward ff;
};

class Dit : public TransformerDenoiser {
 public:
  Dit(const std::string& json, const WeightSource& source, const std::string& where)
      : TransformerDenoiser(json), s_(json, where), patches_(source, "pos_embed", s_.patches) {
    int64_t width = s_.attention.width;
    for (int64_t i = 0; i < s_.layers; ++i) blocks_.emplace_back(source.in(cat("transformer_blocks.", i)), s_);
    told_out_ = source.linear("proj_out_1", width, 2 * width);
    out_ = source.linear("proj_out_2", width, s_.patches.patch * s_.patches.patch * s_.patches.out_channels);
    weights_ = source.finish();
  }

  Tensor forward(const Tensor& sample, const Tensor& timestep, const Conditioning& told,
                 const ControlResiduals* control) const override {
    check_sample(sample, s_.patches.in_channels, s_.patches.patch, control);
    if (!told.class_labels.defined()) bad_input("class_label", "the model is told a class; the rows have none");
    Tensor features = sinusoidal(timestep, kNormTimeFeatures, true, 1).to(sample.scalar_type());
    Tensor x = patches_.embed(sample);
    for (const Block& block : blocks_)
      x = through([&block](const std::vector<Tensor>& in) { return block(in[0], in[1], in[2]); },
                  {x, features, told.class_labels});
    auto m = apply(*told_out_, blocks_[0].told(features, told.class_labels)).chunk(2, 1);
    return patches_.assemble(apply(*out_, modulated(x, m[0], m[1])), sample.size(2), sample.size(3));
  }

  int64_t in_channels() const override { return s_.patches.in_channels; }
  int64_t out_channels() const override { return s_.patches.out_channels; }
  int64_t sample_size() const override { return s_.patches.sample_size; }
  int64_t num_classes() const override { return s_.classes; }

 private:
  DiTSettings s_;
  Patches patches_;
  std::vector<Block> blocks_;
  std::shared_ptr<Linear> told_out_, out_;
};

}  // namespace

std::unique_ptr<Denoiser> make_dit(const std::string& config_json, const WeightSource& source,
                                   const std::string& where) {
  return std::make_unique<Dit>(config_json, source, where);
}

}  // namespace rft
