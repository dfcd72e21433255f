#pragma once
/// How DPT (Ranftl et al. 2021, arXiv:2103.13413) and Depth Anything make a map of a vision transformer's tokens.
#include <optional>
#include <vector>

#include "core/model_config.h"
#include "nn/batch_norm.h"

namespace rft {

struct DptShape {
  int64_t width = 768;                 ///< of the tokens
  std::vector<int64_t> channels = {};  ///< of the maps, the finest first
  std::vector<double> factors = {};    ///< of their sides to the grid of patches: a whole number, or 1 over one
  int64_t fusion = 256;
  std::string readout = "ignore";  ///< of the class token: ignore, add, project
  std::string activation = "gelu";
  bool batch_norm = false, bias = true;  ///< of the fusion's convolutions
  bool fit = false;                      ///< Depth Anything's: a map is enlarged to the next one's size, not twice
};

/// neck_hidden_sizes, reassemble_factors, fusion_hidden_size and head_in_index; the rest is `shape`'s.
DptShape read_dpt_shape(ModelConfig& config, DptShape shape);

/// Tokens of some layers become maps of several sizes, which are merged from the coarsest to the finest.
class DptNeck {
 public:
  DptNeck() = default;
  /// `source` is under "neck".
  DptNeck(const WeightSource& source, const DptShape& shape);
  /// states[i] [N, 1 + height * width, D], the class token first, the i-th map's -> [N, fusion, h, w].
  Tensor operator()(const std::vector<Tensor>& states, int64_t height, int64_t width) const;

 private:
  struct Reassemble {
    std::shared_ptr<Linear> readout;  ///< where it is projected
    Conv2d project, resize;           ///< resize of a whole factor above 1 is transposed
  };
  struct Residual {
    Conv2d first, second;
    std::optional<BatchNorm> first_norm, second_norm;
  };
  struct Fusion {
    Residual entering, merged;
    Conv2d project;
  };
  void read_reassemble(const WeightSource& source, size_t i);
  Residual read_residual(const WeightSource& source) const;
  Tensor reassemble(size_t i, const Tensor& tokens, int64_t height, int64_t width) const;
  static Tensor residual(const Residual& layer, const Tensor& x);

  DptShape shape_;
  std::vector<Reassemble> reassembled_;
  std::vector<Conv2d> convolutions_;
  std::vector<Fusion> fusions_;
};

}  // namespace rft
