#include "rft/ops/attention.h"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <torch/csrc/autograd/custom_function.h>

#include <cmath>
#include <vector>

#include "ops/gemm.h"
#include "ops/softmax_rows.h"

namespace rft::ops {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::Variable;
using torch::autograd::variable_list;

/// Rows of the scores that are in memory at once; with 1024 keys they are 1 MiB.
constexpr int64_t kRows = 256;
/// Fewer scores are not worth the packing.
constexpr int64_t kFewScores = 2048;

/// One head's matrix [L, d] of x [N, H, L, d].
MatrixOf head_of(const Tensor& x, int64_t head) {
  int64_t n = head / x.size(1), h = head % x.size(1);
  return {x.const_data_ptr<float>() + n * x.stride(0) + h * x.stride(1), x.stride(2), x.stride(3)};
}

MatrixOf rows_from(const MatrixOf& x, int64_t first) {
  return {x.data + first * x.row_stride, x.row_stride, x.column_stride};
}
MatrixOf transposed(const MatrixOf& x) { return {x.data, x.column_stride, x.row_stride}; }

/// A head's place in y [N, L, H, d].
float* place_of(const Tensor& y, int64_t head, int64_t row) {
  int64_t H = y.size(2), n = head / H, h = head % H;
  return y.data_ptr<float>() + n * y.stride(0) + row * y.stride(1) + h * y.stride(2);
}

/// The attention [rows, M] of queries first ... first + rows to all keys.
void weights_of(const MatrixOf& q, const MatrixOf& k, int64_t first, int64_t rows, int64_t M, int64_t d, float* out) {
  gemm(rows, M, d, rows_from(q, first), transposed(k), {out, M, nullptr, 1 / std::sqrt(static_cast<float>(d))});
  for (int64_t i = 0; i < rows; ++i) softmax_in_place(out + i * M, M);
}

struct HeadAttention : torch::autograd::Function<HeadAttention> {
  static Variable forward(AutogradContext* context, const Variable& q, const Variable& k, const Variable& v) {
    int64_t N = q.size(0), H = q.size(1), L = q.size(2), d = q.size(3), M = k.size(2);
    Tensor out = at::empty({N, L, H, d}, q.options().requires_grad(false));
    at::parallel_for(0, N * H, 1, [&](int64_t begin, int64_t end) {
      std::vector<float> scores(static_cast<size_t>(std::min(kRows, L) * M));
      for (int64_t head = begin; head < end; ++head)
        for (int64_t first = 0; first < L; first += kRows) {
          int64_t rows = std::min(kRows, L - first);
          weights_of(head_of(q, head), head_of(k, head), first, rows, M, d, scores.data());
          gemm(rows, d, M, {scores.data(), M, 1}, head_of(v, head), {place_of(out, head, first), H * d});
        }
    });
    context->save_for_backward({q, k, v, out});
    return out;
  }

  static variable_list backward(AutogradContext* context, variable_list gradients) {
    auto saved = context->get_saved_variables();
    const Tensor &q = saved[0], &k = saved[1], &v = saved[2], &out = saved[3], dout = gradients[0].contiguous();
    int64_t N = q.size(0), H = q.size(1), L = q.size(2), d = q.size(3), M = k.size(2);
    Tensor dq = at::empty({N, L, H, d}, q.options().requires_grad(false));
    Tensor dk = at::zeros({N, M, H, d}, dq.options()), dv = at::zeros_like(dk);
    Tensor inner = dout.mul(out).sum(3).contiguous();  // [N, L, H]
    Tensor dout_heads = dout.transpose(1, 2);
    const float scale = 1 / std::sqrt(static_cast<float>(d));
    at::parallel_for(0, N * H, 1, [&](int64_t begin, int64_t end) {
      std::vector<float> p(static_cast<size_t>(std::min(kRows, L) * M)), dp(p.size());
      for (int64_t head = begin; head < end; ++head)
        for (int64_t first = 0; first < L; first += kRows) {
          int64_t rows = std::min(kRows, L - first);
          MatrixOf query = head_of(q, head), key = head_of(k, head), up = rows_from(head_of(dout_heads, head), first);
          weights_of(query, key, first, rows, M, d, p.data());
          gemm(rows, M, d, up, transposed(head_of(v, head)), {dp.data(), M});
          gemm(M, d, rows, transposed({p.data(), M, 1}), up, {place_of(dv, head, 0), H * d, nullptr, 1, true});
          const float* row_inner = inner.const_data_ptr<float>() + head / H * L * H + head % H;
          for (int64_t i = 0; i < rows; ++i)
            softmax_gradient(p.data() + i * M, dp.data() + i * M, M, row_inner[(first + i) * H]);
          gemm(rows, d, M, {dp.data(), M, 1}, key, {place_of(dq, head, first), H * d, nullptr, scale});
          gemm(M, d, rows, transposed({dp.data(), M, 1}), rows_from(query, first),
               {place_of(dk, head, 0), H * d, nullptr, scale, true});
        }
    });
    return {dq.transpose(1, 2), dk.transpose(1, 2), dv.transpose(1, 2)};
  }
};

bool suits(const Tensor& q, const Tensor& k, const Tensor& v) {
  auto plain = [](const Tensor& x) { return x.scalar_type() == at::kFloat && x.is_cpu(); };
  return gemm_is_faster() && plain(q) && plain(k) && plain(v) && q.size(2) * k.size(2) >= kFewScores;
}

}  // namespace

Tensor attention(const Tensor& q, const Tensor& k, const Tensor& v) {
  Tensor out =
      suits(q, k, v) ? HeadAttention::apply(q, k, v) : at::scaled_dot_product_attention(q, k, v).transpose(1, 2);
  return out.reshape({q.size(0), q.size(2), q.size(1) * q.size(3)});
}

}  // namespace rft::ops
