#include "rft/ops/adamw.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>
#include <torch/library.h>

#include <vector>

#include "ops/dispatch.h"

namespace rft::ops {
namespace {

using Signature = void(const Tensor&, double, double, double, double, double, int64_t, const Tensor&, const Tensor&,
                       const Tensor&, const std::optional<Tensor>&);

/// LibTorch's own, on any device.
void composed(const Tensor& gradient, double lr, double beta1, double beta2, double weight_decay, double eps,
              int64_t step, const Tensor& master, const Tensor& mean, const Tensor& square,
              const std::optional<Tensor>& narrow) {
  std::vector<Tensor> p{master}, g{gradient.to(master.scalar_type())}, m{mean}, v{square},
      steps{at::full({}, static_cast<float>(step), master.options().dtype(at::kFloat))};
  at::_fused_adamw_(p, g, m, v, {}, steps, lr, beta1, beta2, weight_decay, eps, /*amsgrad=*/false, /*maximize=*/false);
  if (narrow) narrow->copy_(master);
}

TORCH_LIBRARY_FRAGMENT(rft, m) {
  m.def(
      "adamw(Tensor gradient, float lr, float beta1, float beta2, float weight_decay, float eps, int step, "
      "Tensor(a!) master, Tensor(b!) mean, Tensor(c!) square, Tensor(d!)? narrow) -> ()");
}
TORCH_LIBRARY_IMPL(rft, CompositeExplicitAutograd, m) { m.impl("adamw", &composed); }

}  // namespace

void adamw(const Tensor& gradient, const AdamWStep& o, const Tensor& master, const Tensor& mean, const Tensor& square,
           const Tensor& narrow) {
  static const auto op = find_op<Signature>("rft::adamw");
  at::NoGradGuard no_grad;
  at::AutoDispatchBelowADInplaceOrView below;
  op.call(gradient, o.lr, o.beta1, o.beta2, o.weight_decay, o.eps, o.step, master, mean, square,
          narrow.defined() ? std::optional<Tensor>(narrow) : std::nullopt);
}

}  // namespace rft::ops
