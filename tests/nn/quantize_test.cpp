// A decoder whose linear layers are quantized computes what one does that holds the numbers they stand for.
#include "rft/nn/quantize.h"

#include <ATen/core/grad_mode.h>

#include "decoder_fixtures.h"
#include "rft/core/rng.h"
#include "rft/io/hf_directory.h"
#include "rft/ops/quantized.h"

namespace rft::quantize_test {
namespace {

using testing::load_decoder;
using testing::log_probabilities;

LoraConfig adapters(bool dora) {
  LoraConfig out;
  out.rank = 4, out.alpha = 8, out.dora = dora;
  return out;
}

/// qwen2_tied with rows of whole blocks, untrained.
Decoder wide() {
  auto json = testing::read_json(testing::decoder_path("qwen2_tied") + "/config.json");
  json["hidden_size"] = 64, json["intermediate_size"] = 128;
  return random_decoder(DecoderConfig::from_json(json.dump(), "wide"), at::kFloat, 5);
}

/// A decoder with adapters that are not zero any more.
Decoder adapted(const std::string& name, bool dora) {
  Decoder out = name == "wide" ? wide() : load_decoder(name, at::kFloat);
  add_lora(out, adapters(dora), 3);
  at::NoGradGuard no_grad;
  at::manual_seed(11);
  for (DecoderLayer& layer : out.weights().layers)
    for (Linear* linear : {&layer.qkv, &layer.out, &layer.gate_up, &layer.down})
      for (Adapter& adapter : linear->adapters) Tensor(adapter.b).add_(at::randn_like(adapter.b), 0.1);
  return out;
}

/// The weights replaced by what their codes stand for.
void round(Decoder& decoder, const std::string& kind) {
  at::NoGradGuard no_grad;
  auto to = [&](Linear& linear) {
    if (!linear.weight.defined()) return;
    auto packed = ops::quantize(linear.weight, kind, "test");
    linear.weight = ops::dequantize(packed.codes, packed.scale, at::kFloat);
  };
  for (DecoderLayer& layer : decoder.weights().layers) {
    for (Linear* linear : {&layer.qkv, &layer.out, &layer.gate_up, &layer.down}) to(*linear);
    for (ExpertLayer& expert : layer.experts) to(expert.gate_up), to(expert.down);
  }
}

void expect_the_same(const std::string& name, const std::string& kind, bool dora) {
  SCOPED_TRACE(cat(name, " ", kind, dora ? " dora" : ""));
  Decoder packed = adapted(name, dora), rounded = adapted(name, dora);
  quantize(packed, kind), round(rounded, kind);
  const auto rows = testing::expected_of(name == "wide" ? "qwen2_tied" : name).rows;
  std::vector<Tensor> found[2];
  for (Decoder* decoder : {&packed, &rounded}) {
    Tensor logp = log_probabilities(*decoder, rows);
    logp.square().sum().backward();
    auto& into = found[decoder == &rounded];
    into = {logp.detach(), log_probabilities(*decoder, rows, {.adapters = false}).detach()};
    for (DecoderLayer& layer : decoder->weights().layers)
      for (Linear* linear : {&layer.qkv, &layer.out, &layer.gate_up, &layer.down})
        for (Adapter& adapter : linear->adapters) into.push_back(adapter.a.grad()), into.push_back(adapter.b.grad());
  }
  ASSERT_EQ(found[0].size(), found[1].size());
  for (size_t i = 0; i < found[0].size(); ++i)
    EXPECT_TRUE(at::allclose(found[0][i], found[1][i], 1e-5, 1e-6)) << "tensor " << i;
}

TEST(Quantize, ComputesWhatTheNumbersThatCodesStandForDo) {
  for (const char* name : {"qwen2_tied", "gpt2", "mixtral"})
    for (bool dora : {false, true}) expect_the_same(name, "int8", dora);
}

TEST(Quantize, FourBitsToo) {
  for (bool dora : {false, true}) expect_the_same("wide", "nf4", dora);
}

TEST(Quantize, WhatIsPackedWhileItIsReadIsTheSame) {
  for (const char* name : {"qwen2_tied", "gpt2", "mixtral"}) {
    SCOPED_TRACE(name);
    Decoder whole = load_decoder(name, at::kFloat);
    add_lora(whole, adapters(false), 3);
    quantize(whole, "int8");
    const std::string directory = testing::decoder_path(name);
    const auto tensors = load_hf_tensors(directory);
    size_t taken = 0;
    Decoder read(DecoderConfig::from_json(testing::read_file(directory + "/config.json"), name), tensors, at::kFloat,
                 name, {"int8", [&](const Tensor&) { ++taken; }});
    EXPECT_GE(taken, whole.hugging_face_tensors().size());
    add_lora(read, adapters(false), 3);
    for (size_t i = 0; i < whole.weights().layers.size(); ++i) {
      const DecoderLayer &a = whole.weights().layers[i], &b = read.weights().layers[i];
      for (auto [one, two] :
           {std::pair(&a.qkv, &b.qkv), {&a.out, &b.out}, {&a.gate_up, &b.gate_up}, {&a.down, &b.down}}) {
        if (!one->weight.defined()) continue;
        EXPECT_TRUE(one->weight.equal(two->weight) && one->scale.equal(two->scale));
        ASSERT_EQ(one->adapters.size(), two->adapters.size());
        for (size_t k = 0; k < one->adapters.size(); ++k) EXPECT_TRUE(one->adapters[k].a.equal(two->adapters[k].a));
      }
      for (size_t e = 0; e < a.experts.size(); ++e)
        EXPECT_TRUE(a.experts[e].gate_up.weight.equal(b.experts[e].gate_up.weight));
    }
  }
}

TEST(Quantize, NamesTheLayerThatItCannotTake) {
  Decoder decoder = load_decoder("qwen2_tied", at::kFloat);
  auto message = testing::message_of([&] { quantize(decoder, "nf4"); });
  EXPECT_NE(message.find("layer 0's attention"), std::string::npos) << message;
}

}  // namespace
}  // namespace rft::quantize_test
