#include "kernels/decode_attention.h"

#include <ATen/ATen.h>

#include "cuda/runtime.h"
#include "on_device.h"
#include "support.h"

namespace rft::cuda::decode_attention_test {
namespace {

using testing::on_device;

struct Case {
  int64_t heads, kv_heads, dim;
  int64_t window = 0;
  double softcap = 0;
  std::vector<int64_t> lengths;  ///< 0: an idle row
  bool norm = false, append = true;
  at::ScalarType type = at::kBFloat16;
};

constexpr double kScale = 0.2, kEps = 1e-6, kRopeScale = 1.1;

struct Inputs {
  Tensor qkv, q_norm, k_norm, inv_freq, pages, table, positions;
  std::vector<Tensor> keys, values;  ///< [L - 1, kv_heads, dim] of each row: those before the new token
};

Inputs inputs_of(const Case& c) {
  Inputs in;
  const auto rows = static_cast<int64_t>(c.lengths.size());
  const int64_t width = *std::max_element(c.lengths.begin(), c.lengths.end()) / 32 + 2;
  const int64_t padded = kernels::padded_head(static_cast<int>(c.dim));
  in.qkv = at::randn({rows, (c.heads + 2 * c.kv_heads) * c.dim});
  if (c.norm) in.q_norm = at::randn({c.dim}).to(c.type), in.k_norm = at::randn({c.dim}).to(c.type);
  in.inv_freq = at::pow(100.0, at::arange(c.dim / 4).div(-double(c.dim))).to(at::kFloat);
  in.table = at::randperm(rows * width).to(at::kInt).view({rows, width});
  // Two layers, of which the second is used.
  in.pages = at::zeros({rows * width, 2, 2, c.kv_heads * 32 * padded}, c.type);
  std::vector<int> positions;
  for (int64_t n = 0; n < rows; ++n) {
    const int64_t before = std::max<int64_t>(0, c.lengths[n] - 1);
    positions.push_back(static_cast<int>(c.lengths[n]) - 1);
    in.keys.push_back(at::randn({before, c.kv_heads, c.dim}).to(c.type));
    in.values.push_back(at::randn({before, c.kv_heads, c.dim}).to(c.type));
    for (int64_t p = 0; p < before; ++p) {
      auto page = in.pages[in.table[n][p / 32].item<int64_t>()][1];
      page[0].view({c.kv_heads, 32, padded}).select(1, p % 32).narrow(1, 0, c.dim).copy_(in.keys[n][p]);
      page[1].view({c.kv_heads, padded, 32}).select(2, p % 32).narrow(1, 0, c.dim).copy_(in.values[n][p]);
    }
  }
  in.positions = at::tensor(positions, at::kInt);
  return in;
}

/// x [heads, dim] float64 as attention uses it.
Tensor prepared(Tensor x, const Tensor& norm, const Tensor& inv_freq, int64_t position) {
  if (norm.defined()) x = x.mul(x.square().mean(-1, true).add(kEps).rsqrt()).mul(norm.to(at::kDouble));
  const int64_t half = inv_freq.numel();
  auto angle = inv_freq.mul(static_cast<float>(position)).to(at::kDouble);
  auto cos = angle.cos().mul(kRopeScale), sin = angle.sin().mul(kRopeScale);
  auto a = x.narrow(1, 0, half), b = x.narrow(1, half, half);
  return at::cat({a.mul(cos).sub(b.mul(sin)), b.mul(cos).add(a.mul(sin)), x.narrow(1, 2 * half, x.size(1) - 2 * half)},
                 1);
}

/// [heads * dim] float64.
Tensor expected(const Case& c, const Inputs& in, int64_t n) {
  const int64_t length = c.lengths[n];
  auto heads = in.qkv[n].to(at::kDouble).view({c.heads + 2 * c.kv_heads, c.dim});
  auto q = prepared(heads.narrow(0, 0, c.heads), in.q_norm, in.inv_freq, length - 1);
  auto k = prepared(heads.narrow(0, c.heads, c.kv_heads), in.k_norm, in.inv_freq, length - 1);
  auto rounded = [&](const Tensor& x) { return x.to(c.type).to(at::kDouble).unsqueeze(0); };
  auto keys = at::cat({in.keys[n].to(at::kDouble), rounded(k)});
  auto values = at::cat({in.values[n].to(at::kDouble), rounded(heads.narrow(0, c.heads + c.kv_heads, c.kv_heads))});
  const int64_t first = c.window && length > c.window ? length - c.window : 0;
  keys = keys.slice(0, first).repeat_interleave(c.heads / c.kv_heads, 1);
  values = values.slice(0, first).repeat_interleave(c.heads / c.kv_heads, 1);
  auto scores = keys.mul(q).sum(2).mul(kScale);
  if (c.softcap > 0) scores = scores.div(c.softcap).tanh().mul(c.softcap);
  return scores.softmax(0).unsqueeze(2).mul(values).sum(0).flatten();
}

kernels::DecodeAttention arguments_of(const Case& c) {
  kernels::DecodeAttention a;
  a.pages_float = c.type == at::kFloat, a.rope_scale = kRopeScale, a.norm_eps = kEps, a.scale = kScale;
  a.softcap = static_cast<float>(c.softcap), a.window = static_cast<int>(c.window);
  a.tokens = static_cast<int>(c.lengths.size()), a.heads = static_cast<int>(c.heads);
  a.kv_heads = static_cast<int>(c.kv_heads), a.head_dim = static_cast<int>(c.dim), a.append = c.append;
  a.splits = kernels::attention_splits(static_cast<int>(*std::max_element(c.lengths.begin(), c.lengths.end())));
  return a;
}

/// [rows, heads * dim] float64 on the CPU.
Tensor attended(const Case& c, const Inputs& in) {
  kernels::DecodeAttention a = arguments_of(c);
  Tensor qkv = on_device(in.qkv), pages = on_device(in.pages), table = on_device(in.table);
  Tensor positions = on_device(in.positions), inv_freq = on_device(in.inv_freq), q_norm, k_norm;
  if (c.norm) q_norm = on_device(in.q_norm), k_norm = on_device(in.k_norm);
  Tensor out = at::zeros({qkv.size(0), c.heads * c.dim}, pages.options());
  Tensor parts = at::full({kernels::attention_parts(a.tokens, a.heads, a.head_dim, a.splits)}, NAN, qkv.options());
  Tensor arrived = at::zeros({qkv.size(0) * c.heads}, table.options());
  a.qkv = qkv.const_data_ptr(), a.page_stride = pages[0].numel(), a.table = table.const_data_ptr<int>();
  a.pages = pages[0][1].data_ptr(), a.position = positions.const_data_ptr<int>();
  a.table_width = static_cast<int>(table.size(1)), a.inv_freq = inv_freq.const_data_ptr<float>();
  a.turning = static_cast<int>(2 * inv_freq.numel()), a.out = out.data_ptr(), a.parts = parts.data_ptr<float>();
  a.arrived = arrived.data_ptr<int>();
  if (c.norm) a.q_norm = q_norm.const_data_ptr(), a.k_norm = k_norm.const_data_ptr();
  if (!c.append) check(kernels::decode_append(a, stream()), "decode_append");
  check(kernels::decode_attention(a, stream()), "decode_attention");
  EXPECT_EQ(arrived.abs().sum().item<int64_t>(), 0);
  return out.cpu().to(at::kDouble);
}

TEST(DecodeAttention, equals_softmax_attention_over_pages_splits_groups_and_windows) {
  at::manual_seed(4);
  for (const Case& c :
       {Case{14, 2, 64, 0, 0, {1, 5, 32, 33, 0, 128, 129, 300}}, Case{6, 1, 128, 0, 0, {600, 1100}, true},
        Case{3, 3, 8, 20, 0, {1, 19, 20, 21, 70, 300}}, Case{12, 1, 80, 0, 5, {40, 10}, true, false},
        Case{4, 2, 256, 100, 30, {40, 210}, true}, Case{4, 2, 64, 0, 0, {1, 40, 210}, true, true, at::kFloat},
        Case{4, 2, 12, 50, 3, {1, 40, 210}, false, false, at::kFloat}}) {
    const Inputs in = inputs_of(c);
    const Tensor got = attended(c, in);
    for (size_t n = 0; n < c.lengths.size(); ++n) {
      if (c.lengths[n] == 0) continue;
      const Tensor want = expected(c, in, static_cast<int64_t>(n));
      const double error = got[static_cast<int64_t>(n)].sub(want).norm().div(want.norm()).item<double>();
      EXPECT_LT(error, c.type == at::kFloat ? 2e-6 : 8e-3) << c.heads << " heads of " << c.dim << ", row " << n;
    }
  }
}

TEST(DecodeAttention, a_token_gets_the_same_numbers_in_any_batch) {
  at::manual_seed(5);
  Case c{14, 2, 64, 0, 0, {300, 1050, 7}};
  const Inputs in = inputs_of(c);
  const Tensor all = attended(c, in);
  Inputs one = in;
  one.qkv = in.qkv.narrow(0, 0, 1), one.table = in.table.narrow(0, 0, 1).contiguous();
  one.positions = in.positions.narrow(0, 0, 1);
  c.lengths = {300};
  EXPECT_TRUE(attended(c, one)[0].equal(all[0]));
}

}  // namespace
}  // namespace rft::cuda::decode_attention_test
