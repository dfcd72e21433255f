// FluxTransformer2DModel of diffusers: FLUX.1 (Black Forest Labs 2024; its blocks are those of Esser et al. 2024,
// arXiv:2403.03206, and the parallel ones of Dehghani et al. 2023, arXiv:2302.05442).
#include <ATen/ATen.h>

#include <algorithm>
#include <numeric>

#include "core/model_config.h"
#include "nn/denoisers.h"
#include "nn/dit_joint_block.h"
#include "rft/core/error.h"

namespace rft {
namespace {

/// A token is a square of 2 x 2 pixels, all its channels side by side.
constexpr int64_t kSide = 2;
/// The configuration has no sample_size; the pipeline's images are 1024 pixels wide, its latents an eighth of that.
constexpr int64_t kSampleSize = 128;
/// The pipeline divides timesteps by this, and the model multiplies.
constexpr double kTimesteps = 1000;

struct FluxSettings {
  JointBlock::Shape block;
  int64_t token_channels, layers, single_layers, text_width, pooled_width;
  std::vector<int64_t> axes;
  bool guided;

  FluxSettings(const std::string& json, const std::string& where) {
    ModelConfig c(json, where);
    token_channels = c.integer("in_channels", 64);
    layers = c.integer("num_layers", 19), single_layers = c.integer("num_single_layers", 38);
    block.heads = c.integer("num_attention_heads", 24), block.qk_norm = true;
    int64_t head_dim = c.integer("attention_head_dim", 128);
    block.width = block.heads * head_dim;
    text_width = c.integer("joint_attention_dim", 4096), pooled_width = c.integer("pooled_projection_dim", 768);
    guided = c.flag("guidance_embeds", false), axes = c.integers("axes_dims_rope", {16, 56, 56});
    c.only("patch_size", {1}), c.only("out_channels", {token_channels});
    c.finish();
    if (token_channels < 1 || token_channels % (kSide * kSide)) c.refuse("in_channels", "must be a multiple of 4");
    if (block.width < 1) c.refuse("num_attention_heads", "and attention_head_dim must be at least 1");
    bool odd = std::any_of(axes.begin(), axes.end(), [](int64_t axis) { return axis < 0 || axis % 2; });
    if (axes.size() != 3 || odd || std::reduce(axes.begin(), axes.end()) != head_dim)
      c.refuse("axes_dims_rope", cat("must be 3 even numbers whose sum is attention_head_dim, ", head_dim));
  }
};

/// sample [N, C, h, w] -> [N, h w / 4, 4 C].
Tensor pack(const Tensor& sample) {
  int64_t N = sample.size(0), C = sample.size(1), h = sample.size(2) / kSide, w = sample.size(3) / kSide;
  return sample.reshape({N, C, h, kSide, w, kSide}).permute({0, 2, 4, 1, 3, 5}).reshape({N, h * w, C * kSide * kSide});
}

/// The inverse; `like` is the sample.
Tensor unpack(const Tensor& tokens, const Tensor& like) {
  int64_t N = like.size(0), C = like.size(1), h = like.size(2) / kSide, w = like.size(3) / kSide;
  return tokens.view({N, h, w, C, kSide, kSide}).permute({0, 3, 1, 4, 2, 5}).reshape(like.sizes());
}

/// places [L] float64 -> angles [L, dim / 2].
Tensor angles(const Tensor& places, int64_t dim) {
  Tensor exponent = at::arange(0, dim, 2, at::kDouble).div(static_cast<double>(dim));
  return at::outer(places, at::pow(10000.0, exponent).reciprocal());
}

/// Of `text` tokens, which are nowhere, and h x w tokens of the image, which have a row and a column.
Rotation positions(const std::vector<int64_t>& axes, int64_t text, int64_t h, int64_t w) {
  auto of_image = [&](const Tensor& places) {
    return at::cat({at::zeros({text}, at::kDouble), places.expand({h, w}).reshape({h * w})});
  };
  Tensor rows = of_image(at::arange(h, at::kDouble).unsqueeze(1)), columns = of_image(at::arange(w, at::kDouble));
  Tensor angle = at::cat({angles(at::zeros_like(rows), axes[0]), angles(rows, axes[1]), angles(columns, axes[2])}, 1);
  return {angle.cos().to(at::kFloat), angle.sin().to(at::kFloat)};
}

/// Text and image as one sequence; attention and feed-forward side by side (diffusers' FluxSingleTransformerBlock).
struct SingleBlock {
  SingleBlock(const WeightSource& source, const JointBlock::Shape& shape)
      : heads(shape.heads),
        norm(source, "norm", shape.width, 3),
        up(source.linear("proj_mlp", shape.width, 4 * shape.width)),
        out(source.linear("proj_out", 5 * shape.width, shape.width)),
        stream(image_stream(source.in("attn"), {shape.width, shape.heads, /*bias=*/true, shape.qk_norm},
                            /*out=*/false)) {}

  Tensor operator()(const Tensor& x, const Tensor& told, const Rotation& rotation) const {
    auto m = norm(told);
    Tensor normed = modulated(x, m[0], m[1]);
    Tensor mixed = attend({{&stream, normed}}, heads, rotation)[0];
    return gated(x, m[2], apply(*out, at::cat({mixed, at::gelu(apply(*up, normed), "tanh")}, 2)));
  }

  int64_t heads;
  Modulation norm;
  std::shared_ptr<Linear> up, out;
  AttentionStream stream;
};

class Flux : public TransformerDenoiser {
 public:
  Flux(const std::string& json, const WeightSource& source, const std::string& where)
      : TransformerDenoiser(json), s_(json, where) {
    int64_t width = s_.block.width;
    told_ = TextTimeEmbedding(source.in("time_text_embed"), width, s_.pooled_width, s_.guided);
    text_in_ = source.linear("context_embedder", s_.text_width, width);
    image_in_ = source.linear("x_embedder", s_.token_channels, width);
    for (int64_t i = 0; i < s_.layers; ++i) joint_.emplace_back(source.in(cat("transformer_blocks.", i)), s_.block);
    for (int64_t i = 0; i < s_.single_layers; ++i)
      single_.emplace_back(source.in(cat("single_transformer_blocks.", i)), s_.block);
    norm_out_ = Modulation(source, "norm_out", width, 2);
    out_ = source.linear("proj_out", width, s_.token_channels);
    weights_ = source.finish();
  }

  Tensor forward(const Tensor& sample, const Tensor& timestep, const Conditioning& told,
                 const ControlResiduals* control) const override {
    check_sample(sample, in_channels(), kSide, control);
    auto [text, pooled] = told_text(told, s_.text_width, s_.pooled_width, sample.scalar_type());
    Tensor condition = embed(timestep, pooled, told);
    int64_t length = text.size(1);
    Rotation rotation = positions(s_.axes, length, sample.size(2) / kSide, sample.size(3) / kSide);
    rotation = {rotation.cos.to(sample.device()), rotation.sin.to(sample.device())};
    Tensor x = at::cat({apply(*text_in_, text), apply(*image_in_, pack(sample))}, 1);
    for (const JointBlock& block : joint_)
      x = through(
          [&block, length, rotation](const std::vector<Tensor>& in) { return block(in[0], length, in[1], rotation); },
          {x, condition});
    for (const SingleBlock& block : single_)
      x = through([&block, rotation](const std::vector<Tensor>& in) { return block(in[0], in[1], rotation); },
                  {x, condition});
    auto m = norm_out_(condition);
    Tensor image = x.narrow(1, length, x.size(1) - length);
    return unpack(apply(*out_, modulated(image, m[1], m[0])), sample);
  }

  int64_t in_channels() const override { return s_.token_channels / (kSide * kSide); }
  int64_t out_channels() const override { return in_channels(); }
  int64_t sample_size() const override { return kSampleSize; }
  bool takes_guidance() const override { return s_.guided; }

 private:
  /// After its SiLU. The peer rounds t / 1000 and the guidance to the model's type; so do we.
  Tensor embed(const Tensor& timestep, const Tensor& pooled, const Conditioning& told) const {
    auto type = pooled.scalar_type();
    Tensor t = timestep.div(kTimesteps).to(type).mul(kTimesteps), scale;
    if (s_.guided) {
      if (!told.guidance.defined())
        bad_input("guidance", "the model is told a guidance scale (`guidance_embeds`); the rows have none");
      scale = told.guidance.to(type).mul(kTimesteps);
    }
    return at::silu(told_(t, pooled, scale));
  }

  FluxSettings s_;
  TextTimeEmbedding told_;
  std::shared_ptr<Linear> text_in_, image_in_, out_;
  std::vector<JointBlock> joint_;
  std::vector<SingleBlock> single_;
  Modulation norm_out_;
};

}  // namespace

std::unique_ptr<Denoiser> make_flux(const std::string& config_json, const WeightSource& source,
                                    const std::string& where) {
  return std::make_unique<Flux>(config_json, source, where);
}

}  // namespace rft
