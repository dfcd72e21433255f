#include "nn/timestep_embedding.h"

#include <ATen/ATen.h>

#include <cmath>

namespace rft {

Tensor sinusoidal(const Tensor& t, int64_t dim, bool flip_sin_to_cos, double downscale_freq_shift, double max_period,
                  double scale) {
  int64_t half = dim / 2;
  Tensor exponent =
      at::arange(half, at::kFloat).mul(-std::log(max_period) / (static_cast<double>(half) - downscale_freq_shift));
  Tensor angle = t.to(at::kFloat).unsqueeze(1).mul(exponent.exp().to(t.device())).mul(scale);
  Tensor out = flip_sin_to_cos ? at::cat({angle.cos(), angle.sin()}, 1) : at::cat({angle.sin(), angle.cos()}, 1);
  return dim % 2 ? at::constant_pad_nd(out, {0, 1}) : out;
}

TimestepMlp::TimestepMlp(const WeightSource& source, int64_t in, int64_t width, int64_t out)
    : first(source.linear("linear_1", in, width)), second(source.linear("linear_2", width, out ? out : width)) {}

Tensor TimestepMlp::operator()(const Tensor& x) const { return apply(*second, at::silu(apply(*first, x))); }

}  // namespace rft
