// What only a GPU can show: attention over ragged rows, and a decoder's gradients there.
#include <ATen/ATen.h>

#include "nn/packed_attention.h"
#include "on_device.h"
#include "rft/nn/decoder.h"
#include "rft/ops/linear_logp.h"
#include "support.h"

namespace rft::device_test {
namespace {

constexpr char kConfig[] =
    R"({"architectures": ["Qwen2ForCausalLM"], "model_type": "qwen2", "vocab_size": 509, "hidden_size": 128,
  "intermediate_size": 320, "num_hidden_layers": 3, "num_attention_heads": 4, "num_key_value_heads": 2,
  "max_position_embeddings": 256, "tie_word_embeddings": true, "rms_norm_eps": 1e-6, "rope_theta": 10000.0})";

Packed ragged_rows() {
  Packed out;
  out.lengths = {37, 1, 64, 12};
  out.ids = at::randint(509, {114}, at::kLong);
  return out;
}

/// log-probabilities and all gradients, on the CPU, of the same model and rows.
std::vector<Tensor> evaluated(const Decoder& from, const Packed& rows, at::ScalarType type, const at::Device& device,
                              bool checkpoint) {
  Decoder decoder(from.config(), from.hugging_face_tensors(), at::TensorOptions().dtype(type).device(device), "test");
  for (auto& [name, value] : decoder.weights().named()) value.requires_grad_(true);
  Packed there{rows.ids.to(device), rows.lengths};
  Tensor hidden = decoder.forward(there, {.checkpoint = checkpoint});
  auto out = ops::linear_logp(hidden, decoder.weights().head, there.ids, 0.9, true);
  out.logp.mean().sub(out.entropy.mean(), 0.1).backward();
  std::vector<Tensor> all{out.logp.detach(), out.entropy.detach()};
  for (auto& [name, value] : decoder.weights().named()) all.push_back(value.grad());
  for (Tensor& x : all) x = x.to(at::kCPU, at::kDouble);
  return all;
}

double relative_gap(const Tensor& found, const Tensor& wanted) {
  return found.sub(wanted).norm().div(wanted.norm().add(1e-12)).item<double>();
}

TEST(DecoderOnDevice, GivesTheCpusLogProbabilitiesAndGradients) {
  if (testing::kEmulated) GTEST_SKIP() << "LibTorch's own kernels need a GPU";
  at::manual_seed(0);
  Decoder decoder = random_decoder(DecoderConfig::from_json(kConfig, "test"), at::kFloat, 3);
  Packed rows = ragged_rows();
  auto wanted = evaluated(decoder, rows, at::kDouble, at::kCPU, false);
  for (auto [type, most] : {std::pair{at::kFloat, 1e-4}, {at::kBFloat16, 5e-2}})
    for (bool checkpoint : {false, true}) {
      auto found = evaluated(decoder, rows, type, testing::device(), checkpoint);
      ASSERT_EQ(found.size(), wanted.size());
      for (size_t i = 0; i < found.size(); ++i)
        EXPECT_LT(relative_gap(found[i], wanted[i]), most) << at::toString(type) << " " << i;
    }
}

TEST(PackedAttention, EqualsEachRowsOwn) {
  if (testing::kEmulated) GTEST_SKIP() << "LibTorch's own kernels need a GPU";
  at::manual_seed(1);
  const std::vector<int> lengths{5, 70, 1, 33};
  for (int64_t window : {0, 8}) {
    Tensor heads = testing::on_device(at::randn({109, 6 + 2 * 2, 64}).to(at::kBFloat16)).requires_grad_();
    Tensor starts = testing::on_device(at::tensor({0, 5, 75, 76, 109}, at::kInt));
    Tensor out = packed_attention(heads, {starts, 70}, {6, 2, 0.1, window}), up = at::randn_like(out);
    out.backward(up);
    Tensor wide = heads.detach().to(at::kCPU, at::kDouble).requires_grad_();
    std::vector<Tensor> rows;
    int64_t at = 0;
    for (int length : lengths) {
      auto parts = wide.narrow(0, at, length).transpose(0, 1).unsqueeze(0).split_with_sizes({6, 2, 2}, 1);
      Tensor seen = at::ones({length, length}, at::kBool).tril();
      if (window) seen = seen.triu(1 - window);
      Tensor row = at::scaled_dot_product_attention(parts[0], parts[1], parts[2], seen, 0.0, false, 0.1, true);
      rows.push_back(row.squeeze(0).transpose(0, 1).reshape({length, 6 * 64}));
      at += length;
    }
    Tensor wanted = at::cat(rows);
    wanted.backward(up.to(at::kCPU, at::kDouble));
    EXPECT_LT(relative_gap(out.detach().to(at::kCPU, at::kDouble), wanted.detach()), 1e-2) << window;
    EXPECT_LT(relative_gap(heads.grad().to(at::kCPU, at::kDouble), wide.grad()), 2e-2) << window;
  }
}

}  // namespace
}  // namespace rft::device_test
