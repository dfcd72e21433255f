#include "rft/ops/gather_rows.h"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <torch/csrc/autograd/custom_function.h>

#include <cstring>

namespace rft::ops {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::Variable;
using torch::autograd::variable_list;

/// out[i] = x[index[i]], or zeros where index[i] < 0.
Tensor copy_rows(const Tensor& given, const Tensor& index) {
  auto x = given.contiguous();
  if (!x.is_cpu()) {
    auto rows = x.index_select(0, index.clamp_min(0));
    std::vector<int64_t> column(static_cast<size_t>(x.dim()), 1);
    column[0] = index.numel();
    return rows.masked_fill_(index.lt(0).view(column), 0);
  }
  auto shape = x.sizes().vec();
  shape[0] = index.numel();
  auto out = at::empty(shape, x.options());
  if (out.numel() == 0) return out;
  size_t bytes = static_cast<size_t>(out.nbytes()) / static_cast<size_t>(shape[0]);
  const auto* from = static_cast<const char*>(x.const_data_ptr());
  auto* to = static_cast<char*>(out.data_ptr());
  const int64_t* at = index.const_data_ptr<int64_t>();
  at::parallel_for(0, shape[0], std::max<int64_t>(1, 65536 / static_cast<int64_t>(bytes + 1)),
                   [&](int64_t begin, int64_t end) {
                     for (int64_t i = begin; i < end; ++i) {
                       if (at[i] < 0)
                         std::memset(to + i * bytes, 0, bytes);
                       else
                         std::memcpy(to + i * bytes, from + at[i] * bytes, bytes);
                     }
                   });
  return out;
}

struct GatherRows : torch::autograd::Function<GatherRows> {
  static Variable forward(AutogradContext* context, const Variable& x, const Tensor& index, const Tensor& inverse) {
    context->save_for_backward({inverse});
    return copy_rows(x, index);
  }
  static variable_list backward(AutogradContext* context, variable_list gradients) {
    return {copy_rows(gradients[0], context->get_saved_variables()[0]), Variable(), Variable()};
  }
};

}  // namespace

Tensor gather_rows(const Tensor& x, const Tensor& index, const Tensor& inverse) {
  TORCH_CHECK(inverse.numel() == x.size(0), "[gather_rows] inverse must have one entry a row of x");
  return GatherRows::apply(x, index.contiguous(), inverse.contiguous());
}

}  // namespace rft::ops
