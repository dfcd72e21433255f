#include "rft/ops/swiglu.h"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <torch/csrc/autograd/custom_function.h>
#include <torch/library.h>

#include <algorithm>

#include "ops/decode_kernels.h"
#include "ops/dispatch.h"
#include "rft/core/error.h"

namespace rft::ops {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::Variable;
using torch::autograd::variable_list;

/// body(row) for every row, on all threads.
template <class Body>
void for_rows(int64_t rows, int64_t width, const Body& body) {
  at::parallel_for(0, rows, std::max<int64_t>(1, 8192 / width), [&](int64_t first, int64_t last) {
    for (int64_t row = first; row < last; ++row) body(row);
  });
}

Tensor swiglu_forward_on_cpu(const Tensor& x) {
  int64_t rows = x.size(0), width = x.size(1) / 2;
  Tensor y = at::empty({rows, width}, x.options());
  const float* x_at = x.const_data_ptr<float>();
  float* y_at = y.data_ptr<float>();
  for_rows(rows, width, [&](int64_t row) {
    const float* gate = x_at + row * 2 * width;
    decode_kernels().gated_silu(gate, gate + width, width, y_at + row * width);
  });
  return y;
}

Tensor swiglu_backward_on_cpu(const Tensor& dy, const Tensor& x) {
  Tensor dx = at::empty_like(x);
  int64_t rows = x.size(0), width = x.size(1) / 2;
  const float *x_at = x.const_data_ptr<float>(), *dy_at = dy.const_data_ptr<float>();
  float* dx_at = dx.data_ptr<float>();
  for_rows(rows, width, [&](int64_t row) {
    const float* gate = x_at + row * 2 * width;
    float* dgate = dx_at + row * 2 * width;
    decode_kernels().gated_silu_gradient(gate, gate + width, dy_at + row * width, width, dgate, dgate + width);
  });
  return dx;
}

TORCH_LIBRARY_FRAGMENT(rft, m) {
  m.def("swiglu(Tensor x) -> Tensor");
  m.def("swiglu_backward(Tensor dy, Tensor x) -> Tensor");
}
TORCH_LIBRARY_IMPL(rft, CPU, m) {
  m.impl("swiglu", &swiglu_forward_on_cpu);
  m.impl("swiglu_backward", &swiglu_backward_on_cpu);
}
TORCH_LIBRARY_IMPL(rft, Meta, m) {
  m.impl("swiglu", [](const Tensor& x) { return at::empty({x.size(0), x.size(1) / 2}, x.options()); });
  m.impl("swiglu_backward", [](const Tensor&, const Tensor& x) { return at::empty_like(x); });
}

struct Swiglu : torch::autograd::Function<Swiglu> {
  static Variable forward(AutogradContext* context, const Variable& x) {
    static const auto op = find_op<Tensor(const Tensor&)>("rft::swiglu");
    context->save_for_backward({x});
    at::AutoDispatchBelowADInplaceOrView below;
    return op.call(x);
  }

  static variable_list backward(AutogradContext* context, variable_list gradients) {
    static const auto op = find_op<Tensor(const Tensor&, const Tensor&)>("rft::swiglu_backward");
    at::AutoDispatchBelowADInplaceOrView below;
    return {op.call(gradients[0].contiguous(), context->get_saved_variables()[0])};
  }
};

}  // namespace

Tensor swiglu(const Tensor& x) {
  if (x.dim() != 2 || x.size(1) % 2) run_failed("swiglu", "x must be [N, 2 W]; got ", x.sizes());
  bool kernel = x.is_cpu() ? x.scalar_type() == at::kFloat : x.scalar_type() != at::kDouble;
  if (kernel && x.numel() > 0) return Swiglu::apply(x.contiguous());
  auto halves = x.chunk(2, 1);
  return at::silu(halves[0]).mul(halves[1]);
}

}  // namespace rft::ops
