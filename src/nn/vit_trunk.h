#pragma once
/// The vision transformer of transformers (Dosovitskiy et al. 2021, arXiv:2010.11929) without input sizes or heads, and
/// DINOv2's (Oquab et al. 2023, arXiv:2304.07193), which scales what a layer adds.
#include <vector>

#include "core/model_config.h"
#include "rft/nn/weights.h"

namespace rft {

struct VitShape {
  int64_t width = 768, layers = 12, heads = 12, inner = 3072, channels = 3;
  int64_t image = 224;  ///< the side in pixels of the images whose positions the directory has
  int64_t patch = 16;   ///< the side of a patch in pixels
  double eps = 1e-12;
  std::string activation = "gelu";
  bool bias = true;     ///< of queries, keys and values
  bool dinov2 = false;  ///< its layers and names

  int64_t side() const { return image / patch; }  ///< in patches
};

/// The fields that ViTConfig and DPTConfig share; `image` is image_size where that is missing. Throws UserError naming
/// the field.
VitShape read_vit_shape(ModelConfig& config, int64_t image);
/// Dinov2Config's.
VitShape read_dinov2_shape(ModelConfig& config);

/// Embeddings and layers, and the norm after them.
class VitTrunk {
 public:
  VitTrunk() = default;
  /// `source` is under the model's prefix ("vit", "dpt", "backbone").
  VitTrunk(const WeightSource& source, const VitShape& shape);

  /// pixels [N, channels, H, W], normalised -> [N, 1 + H/patch * W/patch, width], the class token first. Positions of
  /// another grid than the directory's are interpolated as transformers does (bilinear; bicubic for DINOv2). Throws
  /// UserError where a side is smaller than a patch.
  Tensor embed(const Tensor& pixels) const;
  /// x [N, L, width] through layer i of size().
  Tensor layer(int64_t i, const Tensor& x) const;
  Tensor norm(const Tensor& x) const { return layer_norm(norm_, x, shape_.eps); }
  int64_t size() const { return static_cast<int64_t>(layers_.size()); }
  int64_t patch() const { return shape_.patch; }

 private:
  struct Layer {
    Norm before, after;
    std::shared_ptr<Linear> query, key, value, out, up, down;
    Tensor scale_attention, scale_mlp;  ///< [width], DINOv2's alone
  };
  Layer read_layer(const WeightSource& source) const;
  Tensor attend(const Layer& layer, const Tensor& x) const;
  Tensor positions(int64_t height, int64_t width) const;

  VitShape shape_;
  Tensor class_, position_;
  Conv2d patches_;
  std::vector<Layer> layers_;
  Norm norm_;
};

}  // namespace rft
