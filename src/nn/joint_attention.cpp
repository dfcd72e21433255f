#include "nn/joint_attention.h"

#include <ATen/ATen.h>

#include "rft/ops/rms_norm.h"

namespace rft {
namespace {

constexpr double kQueryNormEps = 1e-6;

struct StreamNames {
  const char *q, *k, *v, *out, *norm_q, *norm_k;
};

AttentionStream make_stream(const WeightSource& source, const AttentionShape& shape, bool out,
                            const StreamNames& names) {
  int64_t width = shape.width;
  AttentionStream made;
  made.q = source.linear(names.q, width, width, shape.bias);
  made.k = source.linear(names.k, width, width, shape.bias);
  made.v = source.linear(names.v, width, width, shape.bias);
  if (out) made.out = source.linear(names.out, width, width);
  if (shape.qk_norm) {
    made.norm_q = source.norm(names.norm_q, width / shape.heads, false).weight;
    made.norm_k = source.norm(names.norm_k, width / shape.heads, false).weight;
  }
  return made;
}

/// x [N, L, D] -> [N, L, heads, head_dim], normed where there is a norm.
Tensor to_heads(const Linear& linear, const Tensor& x, const Tensor& norm, int64_t heads) {
  Tensor split = apply(linear, x).unflatten(-1, {heads, -1});
  return norm.defined() ? ops::rms_norm(split, norm, kQueryNormEps) : split;
}

Tensor rotated(const Tensor& x, const Rotation& rotation) {
  if (!rotation.cos.defined()) return x;
  auto pairs = x.to(c10::promoteTypes(x.scalar_type(), at::kFloat)).unflatten(-1, {-1, 2}).unbind(-1);
  Tensor cos = rotation.cos.unsqueeze(1), sin = rotation.sin.unsqueeze(1);
  Tensor first = pairs[0].mul(cos).sub(pairs[1].mul(sin)), second = pairs[1].mul(cos).add(pairs[0].mul(sin));
  return at::stack({first, second}, -1).flatten(-2).to(x.scalar_type());
}

}  // namespace

AttentionStream image_stream(const WeightSource& source, const AttentionShape& shape, bool out) {
  return make_stream(source, shape, out, {"to_q", "to_k", "to_v", "to_out.0", "norm_q", "norm_k"});
}

AttentionStream text_stream(const WeightSource& source, const AttentionShape& shape, bool out) {
  return make_stream(source, shape, out,
                     {"add_q_proj", "add_k_proj", "add_v_proj", "to_add_out", "norm_added_q", "norm_added_k"});
}

std::vector<Tensor> attend(const std::vector<std::pair<const AttentionStream*, Tensor>>& streams, int64_t heads,
                           const Rotation& rotation) {
  std::vector<Tensor> q, k, v, out;
  for (const auto& [stream, x] : streams) {
    q.push_back(to_heads(*stream->q, x, stream->norm_q, heads));
    k.push_back(to_heads(*stream->k, x, stream->norm_k, heads));
    v.push_back(to_heads(*stream->v, x, {}, heads));
  }
  Tensor mixed =
      at::scaled_dot_product_attention(rotated(at::cat(q, 1), rotation).transpose(1, 2),
                                       rotated(at::cat(k, 1), rotation).transpose(1, 2), at::cat(v, 1).transpose(1, 2));
  mixed = mixed.transpose(1, 2).flatten(2);
  int64_t first = 0;
  for (const auto& [stream, x] : streams) {
    Tensor part = mixed.narrow(1, first, x.size(1));
    out.push_back(stream->out ? apply(*stream->out, part) : part);
    first += x.size(1);
  }
  return out;
}

}  // namespace rft
