#include "rft/nn/decoder.h"

#include <ATen/ATen.h>
#include <c10/core/GradMode.h>

#include "decoder_fixtures.h"

namespace rft::decoder_test {
namespace {

using namespace testing;

class EachCheckpoint : public ::testing::TestWithParam<std::string> {};
INSTANTIATE_TEST_SUITE_P(Decoder, EachCheckpoint, ::testing::ValuesIn(kCheckpoints),
                         [](const auto& info) { return info.param; });

void require_gradients(Decoder& decoder) {
  for (auto& [name, value] : decoder.weights().named()) value.requires_grad_(true);
}

/// The gradients, laid out as the weights are.
DecoderWeights gradients_of(const DecoderWeights& weights) {
  DecoderWeights out = weights;
  auto take = [](Tensor& value) {
    if (value.defined()) value = value.grad().defined() ? value.grad() : at::zeros_like(value);
  };
  take(out.token_embedding), take(out.position_embedding), take(out.final_norm.weight), take(out.final_norm.bias);
  if (weights.head.is_same(weights.token_embedding))
    out.head = out.token_embedding;
  else
    take(out.head);
  for (DecoderLayer& layer : out.layers) {
    for (Norm* norm : {&layer.attention_norm, &layer.mlp_norm, &layer.q_norm, &layer.k_norm, &layer.attention_post_norm,
                       &layer.mlp_post_norm})
      take(norm->weight), take(norm->bias);
    std::vector<Linear*> linears{&layer.qkv, &layer.out, &layer.gate_up, &layer.down, &layer.router};
    for (ExpertLayer& expert : layer.experts) linears.insert(linears.end(), {&expert.gate_up, &expert.down});
    for (Linear* linear : linears) take(linear->weight), take(linear->bias);
  }
  return out;
}

TEST_P(EachCheckpoint, GivesTransformersLogProbabilitiesInFloat64) {
  auto expected = expected_of(GetParam());
  auto got = log_probabilities(load_decoder(GetParam(), at::kDouble), expected.rows);
  EXPECT_LT(largest_difference(got, expected.logp64), 1e-9);
}

TEST_P(EachCheckpoint, GivesTransformersLogProbabilitiesInFloat32) {
  auto expected = expected_of(GetParam());
  auto got = log_probabilities(load_decoder(GetParam(), at::kFloat), expected.rows);
  EXPECT_LT(largest_difference(got, expected.logp32), 2e-4);
}

TEST_P(EachCheckpoint, GivesTransformersGradientsOfEveryWeight) {
  auto expected = expected_of(GetParam());
  auto decoder = load_decoder(GetParam(), at::kDouble);
  require_gradients(decoder);
  log_probabilities(decoder, expected.rows).mean().neg().backward();
  auto gradients = gradients_of(decoder.weights());
  auto places = tensor_places(decoder.config(), gradients);
  EXPECT_EQ(places.size(), expected.gradients.size());
  for (const auto& [name, place, transposed] : places) {
    ASSERT_TRUE(expected.gradients.count(name)) << name;
    expect_projections(projections(transposed ? place.t() : place), expected.gradients[name], 1e-9, name);
  }
}

TEST_P(EachCheckpoint, GivesARowTheSameAloneAndInABatch) {
  auto rows = expected_of(GetParam()).rows;
  auto decoder = load_decoder(GetParam(), at::kFloat);
  auto whole = log_probabilities(decoder, rows);
  int64_t start = 0;
  for (const auto& row : rows) {
    auto alone = log_probabilities(decoder, {row});
    EXPECT_LT(largest_difference(alone, whole.narrow(0, start, alone.numel())), 2e-5);
    start += alone.numel();
  }
}

TEST_P(EachCheckpoint, GivesBitwiseTheSameGradientsWithCheckpointing) {
  auto rows = expected_of(GetParam()).rows;
  auto decoder = load_decoder(GetParam(), at::kFloat);
  require_gradients(decoder);
  auto gradients = [&](bool checkpoint) {
    for (auto& [name, value] : decoder.weights().named()) value.mutable_grad().reset();
    log_probabilities(decoder, rows, {.checkpoint = checkpoint}).mean().backward();
    std::map<std::string, Tensor> out;
    for (auto& [name, value] : decoder.weights().named()) out[name] = value.grad().clone();
    return out;
  };
  auto plain = gradients(false), recomputed = gradients(true);
  for (const auto& [name, value] : plain) EXPECT_TRUE(value.equal(recomputed[name])) << name;
}

TEST_P(EachCheckpoint, WritesTheTensorsItRead) {
  auto read = load_hf_tensors(decoder_path(GetParam()));
  auto dtype = read.begin()->second.scalar_type();
  auto written = load_decoder(GetParam(), dtype).hugging_face_tensors();
  ASSERT_EQ(written.size(), read.size());
  for (const auto& [name, value] : read) {
    ASSERT_TRUE(written.count(name)) << name;
    EXPECT_TRUE(written[name].equal(value)) << name;
    EXPECT_EQ(written[name].scalar_type(), dtype) << name;
  }
}

TEST_P(EachCheckpoint, StaysNearFloat32InBFloat16) {
  auto expected = expected_of(GetParam());
  auto got = log_probabilities(load_decoder(GetParam(), at::kBFloat16), expected.rows);
  EXPECT_LT(got.detach().to(at::kDouble).sub(expected.logp64).abs().mean().item<double>(), 0.15);
}

class EachMixture : public ::testing::TestWithParam<std::string> {};
INSTANTIATE_TEST_SUITE_P(Decoder, EachMixture, ::testing::Values("mixtral", "qwen3_moe", "qwen3_moe_plain"),
                         [](const auto& info) { return info.param; });

TEST_P(EachMixture, HasTransformersLoadBalancingLossAndItsGradients) {
  auto json = read_json(decoder_path(GetParam()) + "/expected.json");
  auto decoder = load_decoder(GetParam(), at::kDouble);
  require_gradients(decoder);
  for (bool checkpoint : {false, true}) {
    for (auto& [name, value] : decoder.weights().named()) value.mutable_grad().reset();
    auto balance = decoder.forward_balanced(pack(json["rows"].get<TokenRows>()), {.checkpoint = checkpoint}).balance;
    EXPECT_NEAR(balance.item<double>(), json["balance"]["value"].get<double>(), 1e-10);
    balance.backward();
    auto gradients = gradients_of(decoder.weights());
    size_t compared = 0;
    for (const auto& [name, place, transposed] : tensor_places(decoder.config(), gradients)) {
      if (!place.defined()) continue;
      auto expected = json["balance"]["gradients"].find(name);
      if (expected == json["balance"]["gradients"].end()) {  // the last layer's experts, the last norm: not on the way
        EXPECT_EQ(place.abs().max().item<double>(), 0) << name;
        continue;
      }
      expect_projections(projections(place), *expected, 1e-9, name), ++compared;
    }
    EXPECT_EQ(compared, json["balance"]["gradients"].size());
  }
}

TEST(Decoder, HasNoBalanceWhereThereAreNoExperts) {
  EXPECT_FALSE(load_decoder("qwen2_tied", at::kFloat).forward_balanced(pack({{1, 2, 3}}), {}).balance.defined());
}

TEST(Decoder, ReadsExpertsThatAreKeptTogether) {
  for (const std::string name : {"mixtral", "qwen3_moe"}) {
    std::map<std::string, Tensor> together;
    std::map<std::string, std::vector<Tensor>> gates, ups, downs;
    for (const auto& [key, value] : load_hf_tensors(decoder_path(name))) {
      size_t at = key.find(".experts.");
      if (at == std::string::npos) {
        together[key] = value;
        continue;
      }
      std::string root = key.substr(0, at + 8);  // experts come in order: there are fewer than ten
      bool gate = key.ends_with("w1.weight") || key.ends_with("gate_proj.weight");
      bool up = key.ends_with("w3.weight") || key.ends_with("up_proj.weight");
      (gate ? gates : up ? ups : downs)[root].push_back(value);
    }
    for (const auto& [root, list] : gates) {
      together[root + ".gate_up_proj"] = at::cat({at::stack(list), at::stack(ups[root])}, 1);
      together[root + ".down_proj"] = at::stack(downs[root]);
    }
    auto expected = expected_of(name);
    auto got = log_probabilities(Decoder(config_of(name), together, at::kDouble, "DIR"), expected.rows);
    EXPECT_LT(largest_difference(got, expected.logp64), 1e-9) << name;
  }
}

TEST(Decoder, NamesAllTensorsThatDoNotFitAtOnce) {
  auto tensors = load_hf_tensors(decoder_path("qwen2_tied"));
  tensors.erase("model.layers.1.self_attn.v_proj.bias");
  tensors["model.norm.weight"] = at::zeros({31});
  tensors["model.layers.0.mlp.up_proj.weight"] = at::zeros({40, 32}, at::kLong);
  tensors["model.layers.2.mlp.up_proj.weight"] = at::zeros({40, 32});
  auto message = message_of([&] { Decoder(config_of("qwen2_tied"), tensors, at::kFloat, "DIR"); });
  EXPECT_EQ(message,
            "[DIR] the tensors do not fit config.json: "
            "'model.layers.0.mlp.up_proj.weight' must hold floating-point numbers; "
            "'model.layers.1.self_attn.v_proj.bias' is missing; "
            "'model.norm.weight' must be [32], is [31]; "
            "'model.layers.2.mlp.up_proj.weight' belongs to nothing");
}

TEST(Decoder, IgnoresDerivedTensorsAndTheCopyOfATiedHead) {
  auto tensors = load_hf_tensors(decoder_path("gpt2"));
  tensors["transformer.h.0.attn.bias"] = at::ones({1, 1, 32, 32});
  tensors["transformer.h.0.attn.masked_bias"] = at::zeros({});
  tensors["lm_head.weight"] = tensors.at("transformer.wte.weight");
  EXPECT_NO_THROW(Decoder(config_of("gpt2"), tensors, at::kFloat, "DIR"));
}

TEST(Decoder, ReadsNamesWithoutTheModelsPrefix) {
  std::map<std::string, Tensor> bare;  // as the Hub's gpt2 has them
  for (const auto& [name, value] : load_hf_tensors(decoder_path("gpt2"))) bare[name.substr(name.find('.') + 1)] = value;
  Decoder decoder(config_of("gpt2"), bare, at::kFloat, "DIR");
  auto expected = expected_of("gpt2");
  EXPECT_LT(largest_difference(log_probabilities(decoder, expected.rows), expected.logp32), 2e-4);
}

TEST(Decoder, RefusesARowLongerThanTheModelTakes) {
  auto decoder = load_decoder("gpt2", at::kFloat);
  auto message = message_of<RunError>([&] { decoder.forward(pack({std::vector<int64_t>(33, 1)}), {}); });
  EXPECT_EQ(message, "[Decoder] the longest row has 33 tokens; the model takes at most 32");
}

TEST(Decoder, KeepsNoGraphWhereGradModeIsOff) {
  auto decoder = load_decoder("qwen2_tied", at::kFloat);
  require_gradients(decoder);
  c10::AutoGradMode off(false);
  EXPECT_FALSE(decoder.forward(pack({{1, 2, 3}}), {}).requires_grad());
}

TEST(RandomDecoder, HasTheSpreadThatTransformersGivesAndDependsOnItsSeedAlone) {
  auto config = config_of("gpt2");
  auto tensors = random_decoder(config, at::kFloat, 3).hugging_face_tensors();
  auto spread = [&](const std::string& name) { return tensors.at(name).std().item<double>(); };
  EXPECT_NEAR(spread("transformer.wte.weight"), 0.3, 0.02);
  EXPECT_NEAR(spread("transformer.h.0.attn.c_attn.weight"), 0.3, 0.02);
  EXPECT_NEAR(spread("transformer.h.0.mlp.c_proj.weight"), 0.15, 0.01);  // 0.3 / sqrt(2 * 2 layers)
  EXPECT_TRUE(tensors.at("transformer.h.1.ln_1.weight").equal(at::ones({32})));
  EXPECT_TRUE(tensors.at("transformer.h.1.attn.c_attn.bias").equal(at::zeros({96})));
  auto again = random_decoder(config, at::kFloat, 3).hugging_face_tensors();
  auto other = random_decoder(config, at::kFloat, 4).hugging_face_tensors();
  EXPECT_TRUE(again.at("transformer.wpe.weight").equal(tensors.at("transformer.wpe.weight")));
  EXPECT_FALSE(other.at("transformer.wpe.weight").equal(tensors.at("transformer.wpe.weight")));
}

}  // namespace
}  // namespace rft::decoder_test
