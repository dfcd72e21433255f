#pragma once
/// Noise levels as vectors.
#include "rft/nn/weights.h"

namespace rft {

/// t [N] -> [N, dim]: sines and cosines of t at geometrically spaced frequencies, as diffusers' get_timestep_embedding.
Tensor sinusoidal(const Tensor& t, int64_t dim, bool flip_sin_to_cos, double downscale_freq_shift,
                  double max_period = 10000, double scale = 1);

/// Two linear layers with SiLU between them (diffusers' TimestepEmbedding).
struct TimestepMlp {
  std::shared_ptr<Linear> first, second;
  TimestepMlp() = default;
  TimestepMlp(const WeightSource& source, int64_t in, int64_t width, int64_t out = 0);
  Tensor operator()(const Tensor& x) const;
};

}  // namespace rft
