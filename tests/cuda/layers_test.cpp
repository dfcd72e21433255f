// The kernels of a decoder's layers against float64 references.
#include <ATen/ATen.h>

#include "cuda/ops.h"
#include "on_device.h"
#include "support.h"

namespace rft::layers_test {
namespace {
using testing::on_device;

double gap(const Tensor& found, const Tensor& wanted) {
  return found.to(at::kCPU, at::kDouble).sub(wanted.to(at::kDouble)).abs().max().item<double>();
}
double tolerance(at::ScalarType type) { return type == at::kFloat ? 1e-5 : type == at::kHalf ? 4e-3 : 3e-2; }

struct Case {
  int64_t rows, size;
  at::ScalarType dtype;
};
const std::vector<Case> kCases = {{1, 1, at::kFloat},       {3, 7, at::kFloat},        {5, 64, at::kFloat},
                                  {130, 96, at::kBFloat16}, {67, 1000, at::kBFloat16}, {9, 515, at::kBFloat16},
                                  {4, 4096, at::kHalf}};

TEST(RmsNorm, ValuesAndGradients) {
  at::manual_seed(0);
  for (const Case& c : kCases) {
    SCOPED_TRACE(cat(c.rows, " x ", c.size, " ", c.dtype));
    Tensor x = at::randn({c.rows, c.size}).to(c.dtype), w = at::randn({c.size}).add(1).to(c.dtype),
           dy = at::randn({c.rows, c.size}).to(c.dtype);
    Tensor wide = x.to(at::kDouble).requires_grad_(), weight = w.to(at::kDouble).requires_grad_();
    Tensor wanted = wide.mul(wide.square().mean(-1, true).add(1e-6).rsqrt()).mul(weight);
    wanted.backward(dy.to(at::kDouble));
    auto [y, scale] = cuda::rms_norm(on_device(x), on_device(w), 1e-6);
    auto [dx, dw] = cuda::rms_norm_backward(on_device(dy), on_device(x), on_device(w), scale, true);
    EXPECT_LT(gap(y, wanted.detach()), tolerance(c.dtype) * 2);
    EXPECT_LT(gap(dx, wide.grad()), tolerance(c.dtype) * (c.size == 1 ? 1 : 4));
    EXPECT_LT(gap(dw, weight.grad()) / std::max(1.0, weight.grad().abs().max().item<double>()), tolerance(c.dtype));
    EXPECT_FALSE(
        std::get<1>(cuda::rms_norm_backward(on_device(dy), on_device(x), on_device(w), scale, false)).defined());
    auto again = cuda::rms_norm_backward(on_device(dy), on_device(x), on_device(w), scale, true);
    EXPECT_TRUE(std::get<1>(again).equal(dw) && std::get<0>(again).equal(dx));
  }
}

TEST(RmsNorm, NoRows) {
  auto [y, scale] = cuda::rms_norm(on_device(at::zeros({0, 8})), on_device(at::ones({8})), 1e-6);
  EXPECT_EQ(y.numel(), 0);
  auto [dx, dw] = cuda::rms_norm_backward(y, y, on_device(at::ones({8})), scale, true);
  EXPECT_EQ(dw.abs().sum().item<double>(), 0);
}

TEST(Swiglu, ValuesAndGradients) {
  at::manual_seed(1);
  for (const Case& c : kCases) {
    SCOPED_TRACE(cat(c.rows, " x ", c.size, " ", c.dtype));
    Tensor x = at::randn({c.rows, 2 * c.size}).mul(3).to(c.dtype), dy = at::randn({c.rows, c.size}).to(c.dtype);
    Tensor wide = x.to(at::kDouble).requires_grad_();
    auto halves = wide.chunk(2, 1);
    Tensor wanted = at::silu(halves[0]).mul(halves[1]);
    wanted.backward(dy.to(at::kDouble));
    EXPECT_LT(gap(cuda::swiglu(on_device(x)), wanted.detach()), tolerance(c.dtype) * 12);
    EXPECT_LT(gap(cuda::swiglu_backward(on_device(dy), on_device(x)), wide.grad()), tolerance(c.dtype) * 12);
  }
}

TEST(Rotary, TurnsAndTurnsBack) {
  at::manual_seed(2);
  for (auto [tokens, heads, rotated, size, dtype] : {std::tuple{1, 1, 1, 2, at::kFloat},
                                                     {5, 4, 3, 64, at::kFloat},
                                                     {7, 6, 5, 128, at::kBFloat16},
                                                     {3, 4, 4, 20, at::kHalf}}) {
    SCOPED_TRACE(cat(tokens, " ", heads, " ", size, " ", dtype));
    Tensor all = at::randn({tokens, heads + 1, size}).to(dtype), angle = at::randn({tokens, size / 2});
    Tensor cos = angle.cos().to(dtype), sin = angle.sin().to(dtype);
    Tensor x = on_device(all).narrow(1, 0, heads);  // rows lie apart
    Tensor in = all.narrow(1, 0, heads).to(at::kDouble), c = cos.to(at::kDouble).unsqueeze(1),
           s = sin.to(at::kDouble).unsqueeze(1);
    auto halves = in.narrow(1, 0, rotated).chunk(2, 2);
    Tensor turned = at::cat({halves[0].mul(c).sub(halves[1].mul(s)), halves[1].mul(c).add(halves[0].mul(s))}, 2);
    Tensor wanted = at::cat({turned, in.narrow(1, rotated, heads - rotated)}, 1);
    Tensor y = cuda::rotary_turn(x, on_device(cos), on_device(sin), rotated, 1);
    EXPECT_LT(gap(y, wanted), tolerance(dtype));
    EXPECT_LT(gap(cuda::rotary_turn(y, on_device(cos), on_device(sin), rotated, -1), in), 3 * tolerance(dtype));
  }
}

TEST(AdamW, StepsAsPyTorchs) {
  at::manual_seed(3);
  for (int64_t n : {1, 64, 1001})
    for (auto type : {at::kFloat, at::kBFloat16}) {
      Tensor master = at::randn({n}), mean = at::randn({n}).mul(0.1), square = at::rand({n}).mul(0.01);
      std::vector<Tensor> p{master.clone()}, m{mean.clone()}, v{square.clone()}, steps{at::full({}, 7.0f)};
      Tensor gradient = at::randn({n}).to(type);
      std::vector<Tensor> g{gradient.to(at::kFloat)};
      at::_fused_adamw_(p, g, m, v, {}, steps, 1e-2, 0.9, 0.99, 0.1, 1e-8, false, false);
      Tensor a = on_device(master), b = on_device(mean), c = on_device(square),
             narrow = on_device(at::empty({n}, type));
      bool low = type != at::kFloat;
      cuda::adamw(on_device(gradient), 1e-2, 0.9, 0.99, 0.1, 1e-8, 7, a, b, c,
                  low ? std::optional<Tensor>(narrow) : std::nullopt);
      EXPECT_LT(gap(a, p[0]), 1e-6);
      EXPECT_LT(gap(b, m[0]), 1e-6);
      EXPECT_LT(gap(c, v[0]), 1e-6);
      if (low) {
        EXPECT_TRUE(narrow.equal(a.to(type)));
      }
    }
}

}  // namespace
}  // namespace rft::layers_test
