#include "kernels/decode_linear.h"

#include <ATen/ATen.h>

#include "cuda/runtime.h"
#include "kernels/decode_stream.h"
#include "on_device.h"
#include "support.h"

namespace rft::cuda::decode_linear_test {
namespace {

using kernels::DecodeLinear;
using kernels::Gate;
using testing::device;
using testing::on_device;

Tensor bf16(at::IntArrayRef sizes, double scale = 1) { return at::randn(sizes).mul(scale).to(at::kBFloat16); }

/// What decode_linear() makes of x [S, K], slices added up: [S, N] or, with a gate, [S, N / 2], float64 on the CPU.
Tensor product(const Tensor& x, const Tensor& weight, const Tensor& bias, Gate gate, int slices, int blocks = 0) {
  const int64_t S = x.size(0), N = weight.size(0);
  const auto options = at::TensorOptions().device(device());
  Tensor xd = on_device(x), wd = on_device(weight), bd = on_device(bias);
  Tensor y = gate == Gate::none ? at::full({slices, S, N}, NAN, options.dtype(at::kFloat))
                                : at::full({S, N / 2}, NAN, options.dtype(at::kBFloat16));
  DecodeLinear a;
  a.x = xd.const_data_ptr(), a.weight = wd.const_data_ptr(), a.bias = bd.const_data_ptr(), a.y = y.data_ptr();
  a.tokens = static_cast<int>(S), a.rows = static_cast<int>(N), a.inner = static_cast<int>(x.size(1));
  a.slices = slices, a.gate = gate, a.blocks = blocks;
  check(kernels::decode_linear(a, stream()), "decode_linear");
  return (gate == Gate::none ? y.sum(0) : y).to(at::kDouble).cpu();
}

Tensor expected(const Tensor& x, const Tensor& weight, const Tensor& bias, Gate gate) {
  auto y = x.to(at::kDouble).matmul(weight.to(at::kDouble).t()).add(bias.to(at::kDouble));
  if (gate == Gate::none) return y;
  auto halves = y.chunk(2, 1);
  auto g = gate == Gate::silu ? at::silu(halves[0]) : at::gelu(halves[0], gate == Gate::gelu_tanh ? "tanh" : "none");
  return g.mul(halves[1]);
}

double error(const Tensor& got, const Tensor& want) { return got.sub(want).norm().div(want.norm()).item<double>(); }

struct Case {
  int64_t N, K;
  Gate gate;
  int slices;
};

TEST(DecodeLinear, equals_the_product_for_any_shape_and_batch) {
  at::manual_seed(1);
  for (const Case& c :
       {Case{37, 8, Gate::none, 1}, Case{50, 264, Gate::none, 2}, Case{33, 1000, Gate::none, 3},
        Case{64, 520, Gate::silu, 1}, Case{48, 72, Gate::gelu_tanh, 1}, Case{16, 40, Gate::gelu_erf, 1}}) {
    Tensor w = bf16({c.N, c.K}, 0.2), b = bf16({c.N}), x = bf16({16, c.K});
    Tensor all = expected(x, w, b, c.gate);
    for (int64_t S : {1, 3, 8, 13, 16})
      EXPECT_LT(error(product(x.narrow(0, 0, S), w, b, c.gate, c.slices, S == 3 ? 1 : 0), all.narrow(0, 0, S)),
                c.gate == Gate::none ? 1e-6 : 1e-2)
          << c.N << " x " << c.K << ", " << S << " tokens";
  }
}

TEST(DecodeLinear, a_token_gets_the_same_numbers_in_any_batch) {
  at::manual_seed(2);
  for (const Case& c : {Case{40, 520, Gate::none, 1}, Case{24, 1096, Gate::none, 2}, Case{6464, 264, Gate::none, 1},
                        Case{64, 264, Gate::silu, 1}}) {
    Tensor w = bf16({c.N, c.K}, 0.2), b = bf16({c.N}), x = bf16({16, c.K});
    Tensor one = product(x.narrow(0, 0, 1), w, b, c.gate, c.slices);
    for (int64_t S : c.N > 1000 ? std::vector<int64_t>{9} : std::vector<int64_t>{2, 9, 16})
      EXPECT_TRUE(product(x.narrow(0, 0, S), w, b, c.gate, c.slices).narrow(0, 0, 1).equal(one)) << S;
  }
}

/// What a StreamNorm describes, with the roundings of ops::rms_norm.
Tensor normed(const Tensor& sum, const Tensor& weight, double eps) {
  auto s = sum.mul(sum.square().mean(-1, true).add(eps).rsqrt()).to(at::kBFloat16);
  return s.mul(weight);
}

TEST(DecodeLinear, norms_the_stream_and_its_parts_itself) {
  at::manual_seed(3);
  const int64_t K = 1048, N = 40, parts = 3;
  for (int64_t S : {1, 16}) {
    Tensor stream_in = at::randn({S, K}), part = at::randn({parts, S, K}), weight = bf16({K}), w = bf16({N, K}, 0.1);
    Tensor sum = stream_in.add(part[0]).add(part[1]).add(part[2]), x = normed(sum, weight, 1e-5);
    Tensor stream_d = on_device(stream_in), part_d = on_device(part), weight_d = on_device(weight), w_d = on_device(w);
    Tensor sum_d = at::zeros_like(stream_d), y = at::zeros({S, N}, stream_d.options());
    DecodeLinear a;
    a.norm = {stream_d.const_data_ptr<float>(), part_d.const_data_ptr(),
              static_cast<int>(parts),          false,
              weight_d.const_data_ptr(),        1e-5f,
              sum_d.data_ptr<float>()};
    a.weight = w_d.const_data_ptr(), a.y = y.data_ptr();
    a.tokens = static_cast<int>(S), a.rows = static_cast<int>(N), a.inner = static_cast<int>(K);
    check(kernels::decode_linear(a, stream()), "decode_linear");
    EXPECT_LT(error(sum_d.cpu(), sum), 1e-6);
    EXPECT_LT(error(y.cpu().to(at::kDouble), expected(x, w, at::zeros({N}), Gate::none)), 2e-3);

    // The norm by itself gives the same numbers.
    Tensor x_d = at::empty({S, K}, stream_d.options().dtype(at::kBFloat16)), again = at::zeros_like(y);
    a.norm.sum = nullptr;
    check(kernels::decode_norm(a.norm, a.tokens, a.inner, x_d.data_ptr(), stream()), "decode_norm");
    a.norm = {}, a.x = x_d.const_data_ptr(), a.y = again.data_ptr();
    check(kernels::decode_linear(a, stream()), "decode_linear");
    EXPECT_TRUE(again.equal(y));
  }
}

TEST(DecodeLinear, refuses_shapes_that_it_cannot_read) {
  DecodeLinear a;
  a.tokens = 1, a.rows = 16, a.inner = 12;
  EXPECT_NE(kernels::decode_linear(a, stream()), 0);
  a.tokens = 17, a.inner = 16;
  EXPECT_NE(kernels::decode_linear(a, stream()), 0);
}

}  // namespace
}  // namespace rft::cuda::decode_linear_test
