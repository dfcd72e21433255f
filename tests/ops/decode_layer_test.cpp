#include "rft/ops/decode_layer.h"

#include <ATen/ATen.h>

#include "decode_kernel_sets.h"
#include "rft/core/tensor.h"
#include "support.h"

namespace rft::decode_layer_test {
namespace {

using testing::with_every_kernel_set;

double difference(const Tensor& a, const Tensor& b) { return (a.to(at::kDouble) - b).abs().max().item<double>(); }

TEST(DecodeLayer, norms_agree_with_float64) {
  at::manual_seed(5);
  with_every_kernel_set([] {
    for (int64_t dim : {1, 5, 16, 40, 200}) {
      const Tensor x = at::randn({3, dim}) * 4 + 2, weight = at::randn({dim}), bias = at::randn({dim});
      Tensor y = at::empty({3, dim});
      const Tensor exact = x.to(at::kDouble);
      ops::decode_norm(x.const_data_ptr<float>(), 3, dim, weight.const_data_ptr<float>(), nullptr, 1e-5,
                       y.data_ptr<float>());
      EXPECT_LT(difference(y, exact * (exact.pow(2).mean(-1, true) + 1e-5).rsqrt() * weight), 3e-6);
      ops::decode_norm(x.const_data_ptr<float>(), 3, dim, weight.const_data_ptr<float>(), bias.const_data_ptr<float>(),
                       1e-5, y.data_ptr<float>());
      EXPECT_LT(difference(y, at::layer_norm(exact, {dim}, weight.to(at::kDouble), bias.to(at::kDouble), 1e-5)), 1e-5);
    }
  });
}

Tensor exact_activation(const std::string& name, const Tensor& x) {
  if (name == "silu") return at::silu(x);
  if (name == "relu") return at::relu(x);
  return at::gelu(x, name == "gelu" ? "none" : "tanh");
}

TEST(DecodeLayer, activations_agree_with_float64_on_the_whole_range) {
  with_every_kernel_set([] {
    const Tensor x = at::cat({at::linspace(-12, 12, 997), at::tensor({-1e4f, -88.f, 0.f, 88.f, 1e4f})});
    for (const char* name : {"silu", "gelu", "gelu_new", "relu"}) {
      SCOPED_TRACE(name);
      const auto activation = ops::activation_of(name);
      const Tensor exact = exact_activation(name, x.to(at::kDouble));
      const Tensor allowed = 2e-7 + 4e-7 * x.to(at::kDouble).abs();
      Tensor y = x.clone();
      ops::decode_activation(activation, y.data_ptr<float>(), 1, y.numel());
      EXPECT_TRUE(((y.to(at::kDouble) - exact).abs() <= allowed).all().item<bool>());
      Tensor both = at::cat({x, at::full_like(x, 3.f)});
      ops::decode_gated_activation(activation, both.data_ptr<float>(), 1, y.numel(), y.data_ptr<float>());
      EXPECT_TRUE(((y.to(at::kDouble) / 3 - exact).abs() <= allowed * 2).all().item<bool>());
    }
  });
  EXPECT_NE(testing::message_of<RunError>([] { ops::activation_of("swish2"); }).find("swish2"), std::string::npos);
}

TEST(DecodeLayer, rotation_keeps_lengths_and_turns_pairs) {
  Tensor x = at::randn({2, 8});
  const Tensor before = x.clone(), angle = at::rand({4}), cos = angle.cos(), sin = angle.sin();
  ops::rotate_heads(x.data_ptr<float>(), 2, 8, 8, cos.const_data_ptr<float>(), sin.const_data_ptr<float>());
  const Tensor a = before.narrow(1, 0, 4), b = before.narrow(1, 4, 4);
  EXPECT_LT(difference(x.narrow(1, 0, 4), a * cos - b * sin), 1e-6);
  EXPECT_LT(difference(x.narrow(1, 4, 4), b * cos + a * sin), 1e-6);
}

}  // namespace
}  // namespace rft::decode_layer_test
