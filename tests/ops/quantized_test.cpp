// Weights in 8 and 4 bits: bitsandbytes' codes, and products that are those of the numbers they stand for.
#include "rft/ops/quantized.h"

#include <ATen/ATen.h>
#include <torch/csrc/autograd/autograd.h>

#include <limits>

#include "decode_kernel_sets.h"
#include "rft/io/safetensors.h"
#include "rft/ops/decode_linear.h"
#include "rft/ops/linear.h"
#include "support.h"

namespace rft::ops::quantized_test {
namespace {

std::map<std::string, Tensor> bitsandbytes() {
  return load_safetensors(testing::fixture("parity/data/quantized.safetensors")).tensors;
}

TEST(Quantized, FourBitsAreBitsandbytesNf4) {
  auto given = bitsandbytes();
  Quantized ours = quantize(given.at("weight"), "nf4", "here");
  EXPECT_TRUE(ours.codes.equal(given.at("nf4.codes")));
  EXPECT_TRUE(ours.scale.equal(given.at("nf4.scale")));
  EXPECT_TRUE(dequantize(ours.codes, ours.scale, at::kFloat).equal(given.at("nf4.weight")));
}

TEST(Quantized, EightBitsAreBitsandbytesRowByRow) {
  auto given = bitsandbytes();
  const Tensor& weight = given.at("int8.of");
  Quantized ours = quantize(weight, "int8", "here");
  EXPECT_TRUE(ours.codes.equal(given.at("int8.codes")));
  EXPECT_TRUE(at::allclose(ours.scale.mul(127), given.at("int8.absmax"), 1e-6));
  Tensor off = dequantize(ours.codes, ours.scale, at::kFloat).sub(weight).abs().div(ours.scale.unsqueeze(1));
  EXPECT_LE(off.max().item<double>(), 0.5001) << "half a step at most";
}

TEST(Quantized, SaysWhatItCannotTake) {
  auto said = [](const Tensor& weight, const char* kind) {
    return testing::message_of([&] { quantize(weight, kind, "here"); });
  };
  EXPECT_NE(said(at::ones({2, 96}), "nf4").find("64"), std::string::npos);
  EXPECT_NE(said(at::ones({2, 64}), "int4").find("'int4'"), std::string::npos);
  EXPECT_NE(said(at::full({2, 64}, std::numeric_limits<float>::quiet_NaN()), "int8").find("finite"), std::string::npos);
}

TEST(Quantized, ProductsAndGradientsAreThoseOfTheNumbers) {
  at::manual_seed(0);
  for (const char* kind : {"int8", "nf4"}) {
    for (at::ScalarType type : {at::kFloat, at::kDouble, at::kBFloat16}) {
      Quantized q = quantize(at::randn({40, 128}), kind, "here");
      Tensor dense = dequantize(q.codes, q.scale, type), bias = at::randn({40}, type), g = at::randn({9, 40}, type);
      std::vector<Tensor> found[2];
      for (int ours : {0, 1}) {
        at::manual_seed(7);
        Tensor x = at::randn({9, 128}, type).requires_grad_();
        Tensor a = at::randn({3, 128}, type).requires_grad_(), b = at::randn({16, 3}, type).requires_grad_();
        std::vector<LowRank> additions{{a, b, 8, 0.5}};
        Tensor y = ours ? linear(x, q.codes, bias, additions, q.scale) : linear(x, dense, bias, additions);
        y.mul(g).sum().backward();
        found[ours] = {y.detach(), x.grad(), a.grad(), b.grad()};
      }
      for (size_t i = 0; i < found[0].size(); ++i) EXPECT_TRUE(found[0][i].equal(found[1][i])) << kind << " " << i;
      Tensor alone = linear(at::ones({2, 128}, type), q.codes, {}, {}, q.scale);
      EXPECT_TRUE(at::allclose(alone, at::linear(at::ones({2, 128}, type), dense), 1e-2, 1e-2));
    }
  }
}

TEST(Quantized, DecodingGivesTheSameProducts) {
  at::manual_seed(1);
  testing::with_every_kernel_set([] {
    for (const char* kind : {"int8", "nf4"})
      for (int64_t rows : {1, 2, 3, 4, 5, 9, 17, 40})
        for (int64_t out : {1, 7, 24, 70}) {
          const int64_t in = 192;
          Quantized q = quantize(at::randn({out, in}), kind, "here");
          Tensor x = at::randn({rows, in}), bias = at::randn({out}), before = at::randn({rows, out}),
                 y = before.clone();
          decode_linear(x.const_data_ptr<float>(), in, rows, MatrixView::of(q.codes, q.scale),
                        rows % 2 ? bias.const_data_ptr<float>() : nullptr, y.data_ptr<float>(), out, rows % 3 == 0);
          Tensor exact = x.to(at::kDouble).matmul(dequantize(q.codes, q.scale, at::kDouble).t());
          if (rows % 2) exact = exact.add(bias);
          if (rows % 3 == 0) exact = exact.add(before);
          EXPECT_LE(y.sub(exact).abs().max().item<double>(), 2e-4) << kind << " " << rows << " x " << out;
        }
  });
}

}  // namespace
}  // namespace rft::ops::quantized_test
