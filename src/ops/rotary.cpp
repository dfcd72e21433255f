#include "rft/ops/rotary.h"

#include <ATen/ATen.h>
#include <ATen/Dispatch.h>
#include <ATen/Parallel.h>
#include <torch/csrc/autograd/custom_function.h>
#include <torch/library.h>

#include <algorithm>

#include "ops/dispatch.h"
#include "rft/core/error.h"

namespace rft::ops {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::Variable;
using torch::autograd::variable_list;

/// The first `rotated` heads turned by sign * their angles. x is contiguous but for its rows, which may lie further
/// apart.
template <class T>
void turn_rows(const Tensor& x, const Tensor& cos, const Tensor& sin, int64_t rotated, T sign, const Tensor& y) {
  int64_t heads = x.size(1), dim = x.size(2), half = dim / 2, stride = x.stride(0);
  const T *x_data = x.const_data_ptr<T>(), *cos_data = cos.const_data_ptr<T>(), *sin_data = sin.const_data_ptr<T>();
  T* y_data = y.data_ptr<T>();
  at::parallel_for(0, x.size(0), std::max<int64_t>(1, 16384 / (heads * dim + 1)), [&](int64_t first, int64_t last) {
    for (int64_t n = first; n < last; ++n) {
      const T *in = x_data + n * stride, *c = cos_data + n * half, *s = sin_data + n * half;
      T* out = y_data + n * heads * dim;
      for (int64_t h = 0; h < rotated; ++h, in += dim, out += dim) {
#pragma omp simd
        for (int64_t d = 0; d < half; ++d) {
          const T a = in[d], b = in[d + half], turn = sign * s[d];
          out[d] = a * c[d] - b * turn;
          out[d + half] = b * c[d] + a * turn;
        }
      }
      std::copy(in, in + (heads - rotated) * dim, out);
    }
  });
}

Tensor turn_on_cpu(const Tensor& x, const Tensor& cos, const Tensor& sin, int64_t rotated, int64_t sign) {
  Tensor y = at::empty(x.sizes(), x.options());
  AT_DISPATCH_FLOATING_TYPES(x.scalar_type(), "rotary",
                             [&] { turn_rows<scalar_t>(x, cos, sin, rotated, static_cast<scalar_t>(sign), y); });
  return y;
}

TORCH_LIBRARY_FRAGMENT(rft, m) {
  m.def("rotary_turn(Tensor x, Tensor cos, Tensor sin, int rotated, int sign) -> Tensor");
}
TORCH_LIBRARY_IMPL(rft, CPU, m) { m.impl("rotary_turn", &turn_on_cpu); }
TORCH_LIBRARY_IMPL(rft, Meta, m) {
  m.impl("rotary_turn", [](const Tensor& x, const Tensor&, const Tensor&, int64_t, int64_t) {
    return at::empty(x.sizes(), x.options());
  });
}

Tensor turn(const Tensor& x, const Tensor& cos, const Tensor& sin, int64_t rotated, int64_t sign) {
  static const auto op =
      find_op<Tensor(const Tensor&, const Tensor&, const Tensor&, int64_t, int64_t)>("rft::rotary_turn");
  at::AutoDispatchBelowADInplaceOrView below;
  return op.call(x, cos, sin, rotated, sign);
}

struct Rotary : torch::autograd::Function<Rotary> {
  static Variable forward(AutogradContext* context, const Variable& x, const Tensor& cos, const Tensor& sin,
                          int64_t rotated) {
    context->save_for_backward({cos, sin});
    context->saved_data["rotated"] = rotated;
    return turn(x, cos, sin, rotated, 1);
  }
  static variable_list backward(AutogradContext* context, variable_list gradients) {
    auto saved = context->get_saved_variables();
    auto dx = turn(gradients[0].contiguous(), saved[0], saved[1], context->saved_data["rotated"].toInt(), -1);
    return {dx, Variable(), Variable(), Variable()};
  }
};

}  // namespace

Tensor rotary(const Tensor& x, const Tensor& cos, const Tensor& sin, int64_t rotated) {
  if (x.dim() != 3 || x.size(2) % 2 || rotated < 0 || rotated > x.size(1))
    run_failed("rotary", "x must be [N, heads, head_dim], head_dim even, with at least ", rotated, " heads; got ",
               x.sizes());
  int64_t half = x.size(2) / 2;
  if (cos.dim() != 2 || cos.size(0) != x.size(0) || cos.size(1) != half || cos.sizes() != sin.sizes())
    run_failed("rotary", "cos and sin must be [", x.size(0), ", ", half, "]; got ", cos.sizes(), " and ", sin.sizes());
  if (cos.scalar_type() != x.scalar_type() || sin.scalar_type() != x.scalar_type())
    run_failed("rotary", "cos and sin must have x's dtype, ", x.toString(), "; got ", cos.toString(), " and ",
               sin.toString());
  bool kernel = x.is_cpu() ? !at::isReducedFloatingType(x.scalar_type()) : x.scalar_type() != at::kDouble;
  if (kernel) {
    bool dense_rows = x.stride(2) == 1 && x.stride(1) == x.size(2);
    return Rotary::apply(dense_rows ? x : x.contiguous(), cos.contiguous(), sin.contiguous(), rotated);
  }
  auto heads = x.split_with_sizes({rotated, x.size(1) - rotated}, 1);
  auto halves = heads[0].split(half, 2);
  auto c = cos.unsqueeze(1), s = sin.unsqueeze(1);
  auto turned = at::cat({halves[0].mul(c).sub(halves[1].mul(s)), halves[1].mul(c).add(halves[0].mul(s))}, 2);
  return rotated == x.size(1) ? turned : at::cat({turned, heads[1]}, 1);
}

}  // namespace rft::ops
