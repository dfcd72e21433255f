#include "rft/ops/swiglu.h"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <torch/csrc/autograd/custom_function.h>

#include <algorithm>

#include "ops/decode_kernels.h"
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

struct Swiglu : torch::autograd::Function<Swiglu> {
  static Variable forward(AutogradContext* context, const Variable& x) {
    context->save_for_backward({x});
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

  static variable_list backward(AutogradContext* context, variable_list gradients) {
    const Tensor x = context->get_saved_variables()[0];
    Tensor dy = gradients[0].contiguous(), dx = at::empty_like(x);
    int64_t rows = x.size(0), width = x.size(1) / 2;
    const float *x_at = x.const_data_ptr<float>(), *dy_at = dy.const_data_ptr<float>();
    float* dx_at = dx.data_ptr<float>();
    for_rows(rows, width, [&](int64_t row) {
      const float* gate = x_at + row * 2 * width;
      float* dgate = dx_at + row * 2 * width;
      decode_kernels().gated_silu_gradient(gate, gate + width, dy_at + row * width, width, dgate, dgate + width);
    });
    return {dx};
  }
};

}  // namespace

Tensor swiglu(const Tensor& x) {
  if (x.dim() != 2 || x.size(1) % 2) run_failed("swiglu", "x must be [N, 2 W]; got ", x.sizes());
  if (x.scalar_type() == at::kFloat && x.is_cpu() && x.numel() > 0) return Swiglu::apply(x.contiguous());
  auto halves = x.chunk(2, 1);
  return at::silu(halves[0]).mul(halves[1]);
}

}  // namespace rft::ops
