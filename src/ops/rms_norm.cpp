#include "rft/ops/rms_norm.h"

#include <ATen/ATen.h>
#include <ATen/Dispatch.h>
#include <ATen/Parallel.h>
#include <torch/csrc/autograd/custom_function.h>
#include <torch/library.h>

#include <algorithm>
#include <cmath>
#include <tuple>

#include "ops/dispatch.h"

namespace rft::ops {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::Variable;
using torch::autograd::variable_list;

constexpr int64_t kBlockRows = 32;  // fixed: the weight's gradient is summed in the same order for any thread count

/// Calls each(block, first row, last row) for blocks of rows, in parallel.
template <class Each>
void for_each_block(int64_t rows, const Each& each) {
  at::parallel_for(0, (rows + kBlockRows - 1) / kBlockRows, 1, [&](int64_t begin, int64_t end) {
    for (int64_t block = begin; block < end; ++block)
      each(block, block * kBlockRows, std::min(rows, (block + 1) * kBlockRows));
  });
}

template <class T>
T dot(const T* a, const T* b, int64_t n) {
  T sum = 0;
#pragma omp simd reduction(+ : sum)
  for (int64_t i = 0; i < n; ++i) sum += a[i] * b[i];
  return sum;
}

/// y and the rows' scales 1 / sqrt(mean(x^2) + eps).
template <class T>
void norm_rows(const Tensor& x, const Tensor& weight, double eps, const Tensor& y, const Tensor& scale) {
  const int64_t size = weight.numel();
  const T *x_data = x.const_data_ptr<T>(), *w = weight.const_data_ptr<T>();
  T *y_data = y.data_ptr<T>(), *scale_data = scale.data_ptr<T>();
  for_each_block(scale.numel(), [&](int64_t, int64_t first, int64_t last) {
    for (int64_t row = first; row < last; ++row) {
      const T* in = x_data + row * size;
      T* out = y_data + row * size;
      const T s = T(1) / std::sqrt(dot(in, in, size) / static_cast<T>(size) + static_cast<T>(eps));
      scale_data[row] = s;
#pragma omp simd
      for (int64_t i = 0; i < size; ++i) out[i] = in[i] * s * w[i];
    }
  });
}

/// With g = dy * weight: dx = scale * g - x * scale^3 * mean(g * x); partial[block] sums dy * x * scale over its rows.
template <class T>
void norm_rows_backward(const Tensor& x, const Tensor& weight, const Tensor& scale, const Tensor& dy, const Tensor& dx,
                        const Tensor& partial) {
  const int64_t size = weight.numel();
  const T *x_data = x.const_data_ptr<T>(), *w = weight.const_data_ptr<T>(), *scale_data = scale.const_data_ptr<T>();
  const T* dy_data = dy.const_data_ptr<T>();
  T *dx_data = dx.data_ptr<T>(), *partial_data = partial.data_ptr<T>();
  for_each_block(scale.numel(), [&](int64_t block, int64_t first, int64_t last) {
    T* dw = partial_data + block * size;
    for (int64_t row = first; row < last; ++row) {
      const T *in = x_data + row * size, *g = dy_data + row * size;
      T* out = dx_data + row * size;
      const T s = scale_data[row];
      T along = 0;
#pragma omp simd reduction(+ : along)
      for (int64_t i = 0; i < size; ++i) along += g[i] * w[i] * in[i];
      const T back = along * s * s * s / static_cast<T>(size);
#pragma omp simd
      for (int64_t i = 0; i < size; ++i) {
        out[i] = s * g[i] * w[i] - back * in[i];
        dw[i] += g[i] * in[i] * s;
      }
    }
  });
}

/// x [..., D] dense -> y, and the rows' scales.
std::tuple<Tensor, Tensor> rms_norm_forward_on_cpu(const Tensor& x, const Tensor& weight, double eps) {
  auto y = at::empty_like(x), scale = at::empty({x.numel() / std::max<int64_t>(1, weight.numel())}, x.options());
  AT_DISPATCH_FLOATING_TYPES(x.scalar_type(), "rms_norm", [&] { norm_rows<scalar_t>(x, weight, eps, y, scale); });
  return {y, scale};
}

/// The gradients of x and, where wanted, of the weight (else undefined).
std::tuple<Tensor, Tensor> rms_norm_backward_on_cpu(const Tensor& dy, const Tensor& x, const Tensor& weight, const Tensor& scale,
                                           bool wants_weight) {
  auto dx = at::empty_like(x);
  auto partial = at::zeros({(scale.numel() + kBlockRows - 1) / kBlockRows, weight.numel()}, x.options());
  AT_DISPATCH_FLOATING_TYPES(x.scalar_type(), "rms_norm_backward",
                             [&] { norm_rows_backward<scalar_t>(x, weight, scale, dy, dx, partial); });
  return {dx, wants_weight ? partial.sum(0) : Tensor()};
}

std::tuple<Tensor, Tensor> rms_norm_forward_shapes(const Tensor& x, const Tensor& weight, double) {
  return {at::empty_like(x), at::empty({x.numel() / std::max<int64_t>(1, weight.numel())}, x.options())};
}
std::tuple<Tensor, Tensor> rms_norm_backward_shapes(const Tensor&, const Tensor& x, const Tensor& weight, const Tensor&,
                                           bool wants_weight) {
  return {at::empty_like(x), wants_weight ? at::empty_like(weight) : Tensor()};
}

TORCH_LIBRARY_FRAGMENT(rft, m) {
  m.def("rms_norm(Tensor x, Tensor weight, float eps) -> (Tensor, Tensor)");
  m.def("rms_norm_backward(Tensor dy, Tensor x, Tensor weight, Tensor scale, bool wants_weight) -> (Tensor, Tensor)");
}
TORCH_LIBRARY_IMPL(rft, CPU, m) {
  m.impl("rms_norm", &rms_norm_forward_on_cpu);
  m.impl("rms_norm_backward", &rms_norm_backward_on_cpu);
}
TORCH_LIBRARY_IMPL(rft, Meta, m) {
  m.impl("rms_norm", &rms_norm_forward_shapes);
  m.impl("rms_norm_backward", &rms_norm_backward_shapes);
}

struct RmsNorm : torch::autograd::Function<RmsNorm> {
  static Variable forward(AutogradContext* context, const Variable& x, const Variable& weight, double eps) {
    static const auto op = find_op<std::tuple<Tensor, Tensor>(const Tensor&, const Tensor&, double)>("rft::rms_norm");
    auto in = x.contiguous();
    at::AutoDispatchBelowADInplaceOrView below;
    auto [y, scale] = op.call(in, weight, eps);
    context->save_for_backward({in, weight, scale});
    return y;
  }

  static variable_list backward(AutogradContext* context, variable_list gradients) {
    static const auto op =
        find_op<std::tuple<Tensor, Tensor>(const Tensor&, const Tensor&, const Tensor&, const Tensor&, bool)>(
            "rft::rms_norm_backward");
    auto saved = context->get_saved_variables();
    at::AutoDispatchBelowADInplaceOrView below;
    auto [dx, dweight] = op.call(gradients[0].contiguous(), saved[0], saved[1], saved[2], context->needs_input_grad(1));
    return {dx, dweight, Variable()};
  }
};

}  // namespace

Tensor rms_norm(const Tensor& x, const Tensor& weight, double eps) {
  TORCH_CHECK(
      weight.dim() == 1 && x.dim() > 0 && x.size(-1) == weight.size(0) && x.scalar_type() == weight.scalar_type(),
      "[rms_norm] weight must be [D] of x's dtype, x [..., D]; got ", weight.sizes(), " and ", x.sizes());
  bool kernel = x.is_cpu() ? !at::isReducedFloatingType(x.scalar_type()) : x.scalar_type() != at::kDouble;
  if (kernel) return RmsNorm::apply(x, weight.contiguous(), eps);
  auto wide = x.to(at::kFloat);
  return wide.mul(wide.square().mean(-1, true).add(eps).rsqrt()).to(x.scalar_type()).mul(weight);
}

}  // namespace rft::ops
