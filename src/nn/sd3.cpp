// SD3Transformer2DModel of diffusers: Stable Diffusion 3 and 3.5 (Esser et al. 2024, arXiv:2403.03206).
#include <ATen/ATen.h>

#include <algorithm>

#include "core/model_config.h"
#include "nn/denoisers.h"
#include "nn/dit_joint_block.h"
#include "nn/dit_patches.h"
#include "rft/core/error.h"

namespace rft {
namespace {

struct Sd3Settings {
  Patches::Shape patches;
  JointBlock::Shape block;
  int64_t layers, text_width, pooled_width;
  std::vector<int64_t> dual;

  Sd3Settings(const std::string& json, const std::string& where) {
    ModelConfig c(json, where);
    // Of these two a null is not the same as a missing field.
    auto given = [fields = nlohmann::json::parse(json)](const char* key) { return fields.contains(key); };
    patches.in_channels = c.integer("in_channels", 16);
    patches.out_channels = c.integer("out_channels", given("out_channels") ? patches.in_channels : 16);
    patches.most = c.integer("pos_embed_max_size", given("pos_embed_max_size") ? 0 : 96);
    patches.sample_size = c.integer("sample_size", 128), patches.patch = c.integer("patch_size", 2);
    layers = c.integer("num_layers", 18), block.heads = c.integer("num_attention_heads", 18);
    patches.width = block.width = block.heads * c.integer("attention_head_dim", 64);
    text_width = c.integer("joint_attention_dim", 4096), pooled_width = c.integer("pooled_projection_dim", 2048);
    dual = c.integers("dual_attention_layers", {});
    c.only("qk_norm", {"rms_norm"}), block.qk_norm = c.has("qk_norm");
    if (c.integer("caption_projection_dim", 1152) != block.width)
      c.refuse("caption_projection_dim", cat("must be num_attention_heads * attention_head_dim, ", block.width));
    c.finish();
    if (block.width < 1 || block.width % 4)
      c.refuse("attention_head_dim", "times num_attention_heads must be a multiple of 4");
    if (layers < 1) c.refuse("num_layers", "must be at least 1");
    if (patches.patch < 1 || patches.sample_size < patches.patch)
      c.refuse("patch_size", "must be at least 1 and at most sample_size");
  }

  JointBlock::Shape shape(int64_t layer) const {
    JointBlock::Shape out = block;
    out.last = layer + 1 == layers, out.dual = std::find(dual.begin(), dual.end(), layer) != dual.end();
    return out;
  }
};

class Sd3 : public TransformerDenoiser {
 public:
  Sd3(const std::string& json, const WeightSource& source, const std::string& where)
      : TransformerDenoiser(json), s_(json, where), patches_(source, "pos_embed", s_.patches) {
    int64_t width = s_.block.width;
    told_ = TextTimeEmbedding(source.in("time_text_embed"), width, s_.pooled_width, /*guided=*/false);
    text_in_ = source.linear("context_embedder", s_.text_width, width);
    for (int64_t i = 0; i < s_.layers; ++i) blocks_.emplace_back(source.in(cat("transformer_blocks.", i)), s_.shape(i));
    norm_out_ = Modulation(source, "norm_out", width, 2);
    out_ = source.linear("proj_out", width, s_.patches.patch * s_.patches.patch * s_.patches.out_channels);
    weights_ = source.finish();
  }

  Tensor forward(const Tensor& sample, const Tensor& timestep, const Conditioning& told,
                 const ControlResiduals* control) const override {
    check_sample(sample, s_.patches.in_channels, s_.patches.patch, control);
    auto [text, pooled] = told_text(told, s_.text_width, s_.pooled_width, sample.scalar_type());
    Tensor condition = at::silu(told_(timestep, pooled));
    Tensor x = at::cat({apply(*text_in_, text), patches_.embed(sample)}, 1);
    int64_t length = text.size(1);
    for (const JointBlock& block : blocks_)
      x = through([&block, length](const std::vector<Tensor>& in) { return block(in[0], length, in[1]); },
                  {x, condition});
    auto m = norm_out_(condition);
    return patches_.assemble(apply(*out_, modulated(x, m[1], m[0])), sample.size(2), sample.size(3));
  }

  int64_t in_channels() const override { return s_.patches.in_channels; }
  int64_t out_channels() const override { return s_.patches.out_channels; }
  int64_t sample_size() const override { return s_.patches.sample_size; }

 private:
  Sd3Settings s_;
  Patches patches_;
  TextTimeEmbedding told_;
  std::shared_ptr<Linear> text_in_, out_;
  std::vector<JointBlock> blocks_;
  Modulation norm_out_;
};

}  // namespace

std::unique_ptr<Denoiser> make_sd3(const std::string& config_json, const WeightSource& source,
                                   const std::string& where) {
  return std::make_unique<Sd3>(config_json, source, where);
}

}  // namespace rft
