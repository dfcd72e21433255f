#pragma once
/// What CLIP's two towers share (Radford et al. 2021, arXiv:2103.00020): their configuration and their layers.
#include <string>
#include <vector>

#include "core/model_config.h"
#include "rft/nn/weights.h"

namespace rft {

/// One tower's part of config.json.
struct ClipPart {
  std::string json;        ///< the tower's own fields
  bool whole = false;      ///< of a CLIPModel, which has both towers
  bool projected = false;  ///< there is a projection to `projection` after the pooling
  int64_t projection = 0;
};

/// Whether config.json's `architecture` has this tower ("text" or "vision"), alone or beside the other.
bool is_clip(const std::string& architecture, const std::string& tower);
ClipPart clip_part(const std::string& config_json, const std::string& tower, const std::string& where);

/// Where the tower's tensors are: directly in a directory of CLIPTextModel or CLIPVisionModel (older ones say
/// "text_model." there too), under "text_model." or "vision_model." where something stands beside it. What belongs to
/// the other tower is ignored.
WeightSource clip_source(const ClipPart& part, const WeightSource& source, const std::string& tower);

struct ClipShape {
  int64_t width = 512, inner = 2048, layers = 12, heads = 8;
  double eps = 1e-5;
  std::string activation = "quick_gelu";
};

/// The fields that both towers have; `shape` has what is missing.
ClipShape read_clip_shape(ModelConfig& config, ClipShape shape);

/// "encoder.layers".
class ClipLayers {
 public:
  ClipLayers() = default;
  ClipLayers(const WeightSource& source, const ClipShape& shape);
  /// x [N, L, width]; causal: no token sees later ones. `last_input`, where given, becomes the last layer's input.
  Tensor operator()(Tensor x, bool causal, Tensor* last_input = nullptr) const;

 private:
  struct Layer {
    Norm before, after;
    std::shared_ptr<Linear> q, k, v, out, up, down;
  };
  Tensor attend(const Layer& layer, const Tensor& x, bool causal) const;

  ClipShape shape_;
  std::vector<Layer> layers_;
};

}  // namespace rft
