#pragma once
/// The layers of ESM (Lin et al. 2023, doi:10.1126/science.ade2574): a bidirectional transformer over the tokens of a
/// sequence, with rotary positions.
#include "core/model_config.h"
#include "rft/nn/weights.h"

namespace rft {

struct EsmShape {
  int64_t vocab = 0, width = 768, layers = 12, heads = 12, inner = 3072;
  int64_t max_length = 1026, mask_id = -1, pad_id = -1;
  double eps = 1e-12, rope_theta = 10000;
  bool norm_before = false;
};

/// The fields that all ESM models have. Throws UserError naming field and file.
EsmShape read_esm_shape(ModelConfig& config);

class EsmTrunk {
 public:
  EsmTrunk() = default;
  /// Takes what is under "esm.".
  EsmTrunk(const WeightSource& source, const EsmShape& shape);
  /// tokens [N, L] int64 or [N, L, V] distributions -> [N, L, width].
  Tensor operator()(const Tensor& tokens) const;
  const Tensor& embedding() const { return embedding_; }  ///< [V, width]
  const EsmShape& shape() const { return shape_; }

 private:
  struct Layer {
    Norm before, after;
    std::shared_ptr<Linear> query, key, value, out, up, down;
  };
  Tensor attend(const Layer& layer, const Tensor& x, const Tensor& cos, const Tensor& sin) const;

  EsmShape shape_;
  Tensor embedding_;
  Norm first_norm_, last_norm_;
  std::vector<Layer> layers_;
};

}  // namespace rft
