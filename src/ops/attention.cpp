#include "rft/ops/attention.h"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <torch/csrc/autograd/custom_function.h>

#include <cmath>
#include <vector>

#include "ops/decode_kernels.h"

namespace rft::ops {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::Variable;
using torch::autograd::variable_list;

/// Fewer scores are not worth a thread of their own.
constexpr int64_t kFewScores = 16384;

/// Head `head` of x [N, H, L, d].
float* head_of(const Tensor& x, int64_t head) {
  return x.data_ptr<float>() + head / x.size(1) * x.stride(0) + head % x.size(1) * x.stride(1);
}

bool rows_are_dense(const Tensor& x) { return x.stride(3) == 1 || x.size(3) == 1; }
Tensor dense_rows(const Tensor& x) { return rows_are_dense(x) ? x : x.contiguous(); }

/// work(head, first row, memory) for every `wide` rows of every head.
template <class Work>
void for_blocks(int64_t heads, int64_t rows, int64_t others, int64_t d, const Work& work) {
  const AttentionKernels& kernels = decode_kernels().attention;
  const int64_t blocks = (rows + kernels.wide - 1) / kernels.wide;
  const int64_t grain = std::max<int64_t>(1, kFewScores / (kernels.wide * others));
  at::parallel_for(0, heads * blocks, grain, [&](int64_t begin, int64_t end) {
    std::vector<float> memory(static_cast<size_t>(kernels.memory(d)));
    for (int64_t i = begin; i < end; ++i) work(i / blocks, i % blocks * kernels.wide, memory.data());
  });
}

struct HeadAttention : torch::autograd::Function<HeadAttention> {
  static Variable forward(AutogradContext* context, const Variable& query, const Variable& key, const Variable& value) {
    Tensor q = dense_rows(query), k = dense_rows(key), v = dense_rows(value);
    const int64_t N = q.size(0), H = q.size(1), L = q.size(2), d = q.size(3), M = k.size(2);
    const float scale = 1 / std::sqrt(static_cast<float>(d));
    Tensor out = at::empty({N, L, H, d}, q.options().requires_grad(false)), heads = out.transpose(1, 2);
    Tensor log_total = at::empty({N * H, L}, out.options());
    for_blocks(N * H, L, M, d, [&](int64_t head, int64_t first, float* memory) {
      HeadForward one{head_of(q, head),
                      head_of(k, head),
                      head_of(v, head),
                      q.stride(2),
                      k.stride(2),
                      v.stride(2),
                      L,
                      M,
                      d,
                      scale,
                      head_of(heads, head),
                      heads.stride(2),
                      log_total.data_ptr<float>() + head * L};
      decode_kernels().attention.forward(one, first, memory);
    });
    context->save_for_backward({q, k, v, out, log_total});
    return out;
  }

  static variable_list backward(AutogradContext* context, variable_list gradients) {
    auto saved = context->get_saved_variables();
    const Tensor &out = saved[3], &log_total = saved[4];
    Tensor q = saved[0].contiguous(), k = saved[1].contiguous(), v = saved[2].contiguous();
    Tensor up = gradients[0].transpose(1, 2).contiguous();
    const int64_t N = q.size(0), H = q.size(1), L = q.size(2), d = q.size(3), M = k.size(2);
    Tensor inner = gradients[0].mul(out).sum(3).transpose(1, 2).contiguous();  // [N, H, L]
    auto room = [&](int64_t rows) { return at::empty({N, rows, H, d}, out.options()).transpose(1, 2); };
    Tensor dq = room(L), dk = room(M), dv = room(M);
    auto of = [&](int64_t head) {
      return HeadBackward{head_of(q, head),
                          head_of(k, head),
                          head_of(v, head),
                          head_of(up, head),
                          L,
                          M,
                          d,
                          1 / std::sqrt(static_cast<float>(d)),
                          log_total.const_data_ptr<float>() + head * L,
                          inner.const_data_ptr<float>() + head * L,
                          head_of(dq, head),
                          head_of(dk, head),
                          head_of(dv, head),
                          dq.stride(2),
                          dk.stride(2),
                          dv.stride(2)};
    };
    if (context->needs_input_grad(0))
      for_blocks(N * H, L, M, d, [&](int64_t head, int64_t first, float* memory) {
        decode_kernels().attention.queries_backward(of(head), first, memory);
      });
    if (context->needs_input_grad(1) || context->needs_input_grad(2))
      for_blocks(N * H, M, L, d, [&](int64_t head, int64_t first, float* memory) {
        decode_kernels().attention.keys_backward(of(head), first, memory);
      });
    auto wanted = [&](size_t i, const Tensor& x) { return context->needs_input_grad(i) ? x : Tensor(); };
    return {wanted(0, dq), wanted(1, dk), wanted(2, dv)};
  }
};

bool suits(const Tensor& q, const Tensor& k, const Tensor& v) {
  auto plain = [](const Tensor& x) { return x.scalar_type() == at::kFloat && x.is_cpu() && x.numel() > 0; };
  return plain(q) && plain(k) && plain(v);
}

}  // namespace

Tensor attention(const Tensor& q, const Tensor& k, const Tensor& v) {
  Tensor out =
      suits(q, k, v) ? HeadAttention::apply(q, k, v) : at::scaled_dot_product_attention(q, k, v).transpose(1, 2);
  return out.reshape({q.size(0), q.size(2), q.size(1) * q.size(3)});
}

}  // namespace rft::ops
