/// A mixture of LoRA experts against the author's formula (github.com/quanshr/DMoERM, innermoe/modeling.py, phase 3),
/// with each expert's states from a model into which its adapters were merged.
#include "rft/nn/expert_mixture.h"

#include <ATen/ATen.h>
#include <ATen/CPUGeneratorImpl.h>
#include <torch/csrc/autograd/autograd.h>

#include <cmath>

#include "rft/nn/text_scores.h"
#include "support.h"

namespace rft::expert_mixture_test {
namespace {

constexpr int64_t kWidth = 8;

Decoder reward_model() {
  const std::string json = R"({"architectures": ["Qwen2ForCausalLM"], "model_type": "qwen2", "vocab_size": 13,
    "hidden_size": 8, "intermediate_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2,
    "initializer_range": 0.3, "max_position_embeddings": 32, "tie_word_embeddings": true})";
  Decoder language = random_decoder(DecoderConfig::from_json(json, "config.json"), at::kDouble, 3);
  return *with_new_score_head(language, /*every_token=*/false, 0, at::kDouble, 5);
}

/// Adapters that do something, and what the model comes to with them.
struct Made {
  ExpertMixture::Expert expert;
  Decoder merged;
};

Made expert_on(const Decoder& base, uint64_t seed) {
  Decoder with = base;
  LoraConfig config;
  config.rank = 2, config.modules_to_save = {"score"};
  add_lora(with, config, seed);
  at::Generator g = at::detail::createCPUGenerator(seed);
  for (DecoderLayer& layer : with.weights().layers)
    for (Linear* linear : {&layer.qkv, &layer.out, &layer.gate_up, &layer.down})
      for (Adapter& adapter : linear->adapters)
        adapter.b = at::randn(adapter.b.sizes(), g, adapter.b.options().requires_grad(false)).mul(0.3);
  ExpertMixture::Expert expert{config, peft_tensors(with), "expert"};
  Decoder merged = base;
  for (DecoderLayer& layer : merged.weights().layers)  // not the base's own tensors
    for (Linear* linear : {&layer.qkv, &layer.out, &layer.gate_up, &layer.down})
      linear->weight = linear->weight.detach().clone();
  add_lora(merged, config, 0);
  load_peft_tensors(merged, expert.tensors, "merged");
  merge_lora(merged);
  return {expert, merged};
}

struct Texts {
  Packed rows{at::tensor({1, 4, 7, 2, 12, 5, 5, 9, 3}, at::kLong), {4, 2, 3}};
  Tensor last = at::tensor({3, 5, 8}, at::kLong);
};

TEST(ExpertMixture, MakesAScoreOfWhatItsExpertsSee) {
  const Decoder base = reward_model();
  const Made first = expert_on(base, 1), second = expert_on(base, 2);
  const ExpertMixture mixture(base, {first.expert, second.expert}, 7);
  const Texts texts;
  std::map<std::string, Tensor> named;
  for (const auto& [name, value] : mixture.named()) named[name] = value;
  ASSERT_EQ(named.at("hidden.weight").sizes(), (std::vector<int64_t>{kWidth, 2 * kWidth}));

  std::vector<Tensor> states;
  for (const Made* one : {&first, &second})
    states.push_back(one->merged.forward(texts.rows, {}).detach().index_select(0, texts.last));
  EXPECT_GT(states[0].sub(states[1]).abs().max().item<double>(), 0.1);
  auto by_hand = [&] {
    Tensor h = at::cat(states, 1).matmul(named.at("hidden.weight").t()).add(named.at("hidden.bias"));
    h = h.clamp_min(0).add(h.clamp_max(0).mul(named.at("slope")));
    return h.matmul(named.at("score.weight").t()).add(named.at("score.bias")).squeeze(1);
  };
  Tensor got = mixture.scores(texts.rows, texts.last), expected = by_hand();
  EXPECT_TRUE(got.allclose(expected, 1e-9, 1e-9)) << got << expected;

  // Bradley-Terry on the first text over the second: gradients of the perceptron, and of nothing else.
  std::vector<Tensor> inputs;
  for (const auto& [name, value] : mixture.named()) inputs.push_back(value);
  auto loss = [](const Tensor& score) { return at::log_sigmoid(score[0].sub(score[1])).neg(); };
  auto ours = torch::autograd::grad({loss(got)}, inputs), theirs = torch::autograd::grad({loss(expected)}, inputs);
  for (size_t i = 0; i < inputs.size(); ++i) EXPECT_TRUE(ours[i].allclose(theirs[i], 1e-9, 1e-12)) << i;
  for (const auto& [name, value] : base.weights().named()) EXPECT_FALSE(value.requires_grad()) << name;
}

TEST(ExpertMixture, StartsAsPyTorchsLayersDo) {
  const Decoder base = reward_model();
  const ExpertMixture mixture(base, {expert_on(base, 1).expert}, 7), other(base, {expert_on(base, 1).expert}, 8);
  Tensor weight = mixture.named()[0].second;
  EXPECT_LE(weight.abs().max().item<double>(), 1 / std::sqrt(8.0));
  EXPECT_GT(weight.abs().max().item<double>(), 0.9 / std::sqrt(8.0));
  EXPECT_FALSE(weight.equal(other.named()[0].second));
  EXPECT_EQ(mixture.named()[2].second.item<double>(), 0.25);
}

TEST(ExpertMixture, LeavesTheBaseAsItIs) {
  const Decoder base = reward_model();
  const Texts texts;
  const Tensor before = text_scores(base, texts.rows, texts.last).detach().clone();
  const ExpertMixture mixture(base, {expert_on(base, 1).expert, expert_on(base, 2).expert}, 7);
  mixture.scores(texts.rows, texts.last);
  EXPECT_TRUE(text_scores(base, texts.rows, texts.last).equal(before));
}

TEST(ExpertMixture, IsLoadedAsItWas) {
  const Decoder base = reward_model();
  const auto experts = std::vector<ExpertMixture::Expert>{expert_on(base, 1).expert, expert_on(base, 2).expert};
  const ExpertMixture mixture(base, experts, 7);
  ExpertMixture again(base, experts, 8);
  std::map<std::string, Tensor> tensors;
  for (const auto& [name, value] : mixture.named()) tensors[name] = value.detach();
  again.load(tensors, "file");
  const Texts texts;
  EXPECT_TRUE(again.scores(texts.rows, texts.last).equal(mixture.scores(texts.rows, texts.last)));
  tensors.erase("slope");
  EXPECT_NE(testing::message_of([&] { again.load(tensors, "file"); }).find("'slope' is missing"), std::string::npos);
}

TEST(ExpertMixture, WhatDoesNotFitIsRefused) {
  const Decoder base = reward_model();
  EXPECT_NE(testing::message_of([&] { ExpertMixture(base, {}, 0); }).find("at least one"), std::string::npos);
  ExpertMixture::Expert expert = expert_on(base, 1).expert;
  expert.tensors.erase(expert.tensors.begin());
  EXPECT_NE(testing::message_of([&] { ExpertMixture(base, {expert}, 0); }).find("expert"), std::string::npos);
}

}  // namespace
}  // namespace rft::expert_mixture_test
