#include <ATen/ATen.h>
#include <torch/library.h>

#include <cmath>

#include "cuda/ops.h"
#include "cuda/runtime.h"
#include "kernels/adamw.h"

namespace rft::cuda {

void adamw(const Tensor& gradient, double lr, double beta1, double beta2, double weight_decay, double eps, int64_t step,
           const Tensor& master, const Tensor& mean, const Tensor& square, const std::optional<Tensor>& narrow) {
  auto power = static_cast<double>(step);
  kernels::AdamW options{static_cast<float>(lr),
                         static_cast<float>(beta1),
                         static_cast<float>(beta2),
                         static_cast<float>(weight_decay),
                         static_cast<float>(eps),
                         static_cast<float>(1 - std::pow(beta1, power)),
                         static_cast<float>(std::sqrt(1 - std::pow(beta2, power)))};
  check(kernels::adamw(gradient.const_data_ptr(), number_type(gradient, "adamw"), options, master.numel(),
                       master.data_ptr<float>(), mean.data_ptr<float>(), square.data_ptr<float>(),
                       narrow ? narrow->mutable_data_ptr() : nullptr, stream()),
        "adamw");
}

namespace {
TORCH_LIBRARY_IMPL(rft, CUDA, m) { m.impl("adamw", &adamw); }
}  // namespace

}  // namespace rft::cuda
