#include "ops/matmul.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

#include "ops/gemm.h"

namespace rft::ops {
namespace {

constexpr int64_t kFewRows = 16;  // with fewer, packing b takes longer than it saves

bool suits_gemm(const Tensor& x) { return x.scalar_type() == at::kFloat && x.is_cpu(); }

MatrixOf matrix_of(const Tensor& x) { return {x.const_data_ptr<float>(), x.stride(0), x.stride(1)}; }

}  // namespace

void matmul_into(Tensor c, const Tensor& a, const Tensor& b, double scale, bool add, const Tensor& bias) {
  if (gemm_is_faster() && a.size(0) >= kFewRows && suits_gemm(a) && suits_gemm(b) && suits_gemm(c) &&
      (c.stride(1) == 1 || c.size(1) == 1)) {
    const float* base = bias.defined() ? bias.const_data_ptr<float>() : nullptr;
    return gemm(a.size(0), b.size(1), a.size(1), matrix_of(a), matrix_of(b),
                {c.data_ptr<float>(), c.stride(0), base, static_cast<float>(scale), add});
  }
  at::NoGradGuard no_grad;
  at::addmm_out(c, bias.defined() ? bias : c, a, b, add || bias.defined() ? 1 : 0, scale);
}

}  // namespace rft::ops
