// The kernels of a decoder's layers.
#include <ATen/ATen.h>
#include <torch/library.h>

#include <algorithm>

#include "cuda/ops.h"
#include "cuda/runtime.h"
#include "kernels/rms_norm.h"
#include "kernels/rotary.h"
#include "kernels/swiglu.h"

namespace rft::cuda {
namespace {

/// Parts in which the rows of a weight's gradient are summed: enough to fill the GPU, each of rows enough to be worth
/// a pass. It depends on the shape alone, so the sums do too.
int64_t parts_of(int64_t rows) { return std::clamp<int64_t>(rows / 64, 1, 256); }

}  // namespace

std::tuple<Tensor, Tensor> rms_norm(const Tensor& given, const Tensor& weight, double eps) {
  Tensor x = given.contiguous();
  int64_t size = weight.numel(), rows = x.numel() / std::max<int64_t>(size, 1);
  Tensor y = at::empty_like(x), scale = at::empty({rows}, x.options().dtype(at::kFloat));
  check(kernels::rms_norm_forward(x.const_data_ptr(), weight.const_data_ptr(), number_type(x, "rms_norm"),
                                  static_cast<float>(eps), rows, size, y.mutable_data_ptr(), scale.data_ptr<float>(),
                                  stream()),
        "rms_norm");
  return {y, scale};
}

std::tuple<Tensor, Tensor> rms_norm_backward(const Tensor& given, const Tensor& x, const Tensor& weight,
                                             const Tensor& scale, bool wants_weight) {
  Tensor dy = given.contiguous(), dx = at::empty_like(x), partial;
  int64_t rows = scale.numel(), size = weight.numel(), parts = parts_of(rows);
  if (wants_weight) partial = at::empty({parts, size}, scale.options());
  check(kernels::rms_norm_backward(dy.const_data_ptr(), x.const_data_ptr(), weight.const_data_ptr(),
                                   number_type(x, "rms_norm_backward"), scale.const_data_ptr<float>(), rows, size,
                                   dx.mutable_data_ptr(), wants_weight ? partial.data_ptr<float>() : nullptr, parts,
                                   stream()),
        "rms_norm_backward");
  return {dx, wants_weight ? partial.sum(0).to(weight.scalar_type()) : Tensor()};
}

Tensor rotary_turn(const Tensor& given, const Tensor& cos, const Tensor& sin, int64_t rotated, int64_t sign) {
  bool dense = given.stride(2) == 1 && given.stride(1) == given.size(2);
  Tensor x = dense ? given : given.contiguous(), y = at::empty(x.sizes(), x.options());
  kernels::RotaryShape shape{x.size(0), x.size(1), rotated, x.size(2) / 2, x.stride(0)};
  check(kernels::rotary_turn(x.const_data_ptr(), cos.contiguous().const_data_ptr(), sin.contiguous().const_data_ptr(),
                             number_type(x, "rotary"), shape, static_cast<float>(sign), y.mutable_data_ptr(), stream()),
        "rotary");
  return y;
}

Tensor swiglu(const Tensor& given) {
  Tensor x = given.contiguous(), y = at::empty({x.size(0), x.size(1) / 2}, x.options());
  check(kernels::swiglu_forward(x.const_data_ptr(), number_type(x, "swiglu"), y.size(0), y.size(1),
                                y.mutable_data_ptr(), stream()),
        "swiglu");
  return y;
}

Tensor swiglu_backward(const Tensor& given, const Tensor& x) {
  Tensor dy = given.contiguous(), dx = at::empty_like(x);
  check(kernels::swiglu_backward(dy.const_data_ptr(), x.const_data_ptr(), number_type(x, "swiglu_backward"), dy.size(0),
                                 dy.size(1), dx.mutable_data_ptr(), stream()),
        "swiglu_backward");
  return dx;
}

namespace {
TORCH_LIBRARY_IMPL(rft, CUDA, m) {
  m.impl("rms_norm", &rms_norm);
  m.impl("rms_norm_backward", &rms_norm_backward);
  m.impl("rotary_turn", &rotary_turn);
  m.impl("swiglu", &swiglu);
  m.impl("swiglu_backward", &swiglu_backward);
}
}  // namespace

}  // namespace rft::cuda
