#include "nn/batch_norm.h"

#include <ATen/ATen.h>

namespace rft {

BatchNorm read_batch_norm(const WeightSource& source, const std::string& name, int64_t channels) {
  BatchNorm out;
  out.norm = source.norm(name, channels);
  out.mean = source.buffer(name + ".running_mean", at::zeros({channels}));
  out.variance = source.buffer(name + ".running_var", at::ones({channels}));
  source.ignore(name + ".num_batches_tracked");  // which momentum alone looks at
  return out;
}

Tensor apply(const BatchNorm& norm, const Tensor& x) {
  constexpr double kMomentum = 0, kEps = 1e-5;  // PyTorch's eps, which no config changes
  return at::batch_norm(x, norm.norm.weight, norm.norm.bias, norm.mean, norm.variance, /*training=*/false, kMomentum,
                        kEps, /*cudnn_enabled=*/false);
}

}  // namespace rft
