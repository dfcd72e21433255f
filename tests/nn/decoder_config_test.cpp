#include <cmath>

#include "decoder_fixtures.h"

namespace rft::decoder_config_test {
namespace {

using namespace testing;
using nlohmann::json;

json config_json(const std::string& name) { return read_json(decoder_path(name) + "/config.json"); }

DecoderConfig parse(const json& config) { return DecoderConfig::from_json(config.dump(), "config.json"); }

json with(json config, const json& changes) {
  config.update(changes);
  return config;
}

void expect_refused(const json& config, const std::string& message) {
  EXPECT_EQ(message_of([&] { parse(config); }), "[config.json] " + message);
}

TEST(DecoderConfig, ReadsEachFamily) {
  auto qwen2 = config_of("qwen2_tied"), qwen3 = config_of("qwen3_untied"), llama = config_of("llama_biases"),
       gpt2 = config_of("gpt2");
  EXPECT_EQ(qwen2.architecture, "Qwen2ForCausalLM");
  EXPECT_TRUE(qwen2.qkv_bias && !qwen2.out_bias && !qwen2.mlp_bias && !qwen2.qk_norm && qwen2.tied_head);
  EXPECT_EQ(qwen2.kv_heads, 2);
  EXPECT_EQ(qwen2.head_dim, 8);
  EXPECT_TRUE(qwen3.qk_norm && !qwen3.qkv_bias && !qwen3.tied_head);
  EXPECT_EQ(qwen3.head_dim, 12);
  EXPECT_TRUE(llama.qkv_bias && llama.out_bias && llama.mlp_bias);
  EXPECT_TRUE(!gpt2.rope && !gpt2.rms_norm && !gpt2.gated_mlp && gpt2.tied_head);
  EXPECT_EQ(gpt2.intermediate_size, 48);
  EXPECT_EQ(gpt2.activation, "gelu_new");
}

TEST(DecoderConfig, ReadsTheHubsOldFieldsAsTheNewOnes) {
  auto now = config_json("llama3_rope"), old = now;
  old["rope_scaling"] = now["rope_parameters"];
  old["rope_theta"] = now["rope_parameters"]["rope_theta"];
  old["rope_scaling"].erase("rope_theta");
  old["torch_dtype"] = now["dtype"];
  old.erase("rope_parameters"), old.erase("dtype");
  EXPECT_EQ(parse(old).rotary.inv_freq, parse(now).rotary.inv_freq);
  auto linear = config_json("qwen2_sharded"), older = linear;
  older.erase("rope_parameters");
  older["rope_theta"] = 1000.0;
  older["rope_scaling"] = {{"type", "linear"}, {"factor", 2.0}};
  EXPECT_EQ(parse(older).rotary.inv_freq, parse(linear).rotary.inv_freq);
  EXPECT_NEAR(parse(linear).rotary.inv_freq.at(1), 0.5 * std::pow(1000.0, -0.25), 1e-15);
}

TEST(DecoderConfig, WritesTheDtypeUnderTheNameItWasReadUnder) {
  auto tensors = load_hf_tensors(decoder_path("qwen2_tied"));
  auto old = config_json("qwen2_tied");
  old.erase("dtype");
  old["torch_dtype"] = "float32";
  auto written = [&](const json& config) {
    return json::parse(Decoder(parse(config), tensors, at::kBFloat16, "DIR").config().json);
  };
  EXPECT_EQ(written(config_json("qwen2_tied"))["dtype"], "bfloat16");
  EXPECT_EQ(written(old)["torch_dtype"], "bfloat16");
  EXPECT_FALSE(written(old).contains("dtype"));
}

TEST(DecoderConfig, RefusesAnUnknownArchitecture) {
  const std::string known =
      "known: Qwen2ForCausalLM, Qwen3ForCausalLM, Qwen3MoeForCausalLM, LlamaForCausalLM, MistralForCausalLM, "
      "MixtralForCausalLM, Gemma2ForCausalLM, Gemma3ForCausalLM, Phi3ForCausalLM, Olmo2ForCausalLM, "
      "SmolLM3ForCausalLM, GPT2LMHeadModel, and for reward models ...ForSequenceClassification and "
      "...ForTokenClassification";
  expect_refused(with(config_json("qwen2_tied"), {{"architectures", {"MambaForCausalLM"}}}),
                 "the architecture 'MambaForCausalLM' is not known; " + known);
  expect_refused({{"model_type", "t5"}}, "the architecture 't5' is not known; " + known);
}

TEST(DecoderConfig, RefusesAnUnknownRopeType) {
  expect_refused(with(config_json("qwen2_tied"), {{"rope_parameters", {{"rope_type", "spiral"}, {"factor", 4.0}}}}),
                 "the rope type 'spiral' is not implemented; known: default, linear, dynamic, llama3, yarn, longrope");
}

TEST(DecoderConfig, RefusesFieldsThatChangeTheComputation) {
  auto qwen2 = config_json("qwen2_tied"), gpt2 = config_json("gpt2");
  auto refused = [](const json& config) { EXPECT_THROW(parse(config), UserError) << config.dump(); };
  refused(with(qwen2, {{"layer_types", {"full_attention", "chunked_attention"}}}));
  refused(with(qwen2, {{"layer_types", {"full_attention"}}}));
  refused(with(qwen2, {{"partial_rotary_factor", 1.5}}));
  refused(with(qwen2, {{"use_mrope", true}}));
  refused(with(qwen2, {{"hidden_act", "mish"}}));
  refused(with(qwen2, {{"quantization_config", {{"quant_method", "fp8"}}}}));
  refused(with(gpt2, {{"scale_attn_weights", false}}));
  refused(with(gpt2, {{"scale_attn_by_inverse_layer_idx", true}}));
  refused(with(gpt2, {{"add_cross_attention", true}}));
}

TEST(DecoderConfig, NamesAFieldThatItDoesNotKnow) {
  auto qwen2 = config_json("qwen2_tied");
  expect_refused(
      with(qwen2, {{"residual_multiplier", 0.22}}),
      "the field 'residual_multiplier' (0.22) is not known and may change what the model computes; remove it "
      "where it does not");
  expect_refused(with(qwen2, {{"rope_parameters", {{"rope_type", "default"}, {"mrope_section", {8, 12}}}}}),
                 "the field 'mrope_section' ([8,12]) is not known and may change what the model computes; remove it "
                 "where it does not");
  EXPECT_NO_THROW(parse(with(qwen2, {{"residual_multiplier", nullptr}, {"_attn", "x"}, {"use_cache", true}})));
}

TEST(DecoderConfig, ReadsWhichLayersSlide) {
  auto windows = [](const json& config) {
    std::vector<int64_t> out;
    for (const LayerKind& kind : parse(config).kinds) out.push_back(kind.window);
    return out;
  };
  auto qwen2 = config_json("qwen2_tied");
  using Windows = std::vector<int64_t>;
  EXPECT_EQ(windows(qwen2), (Windows{0, 0}));
  auto sliding = with(qwen2, {{"use_sliding_window", true}, {"sliding_window", 16}, {"max_window_layers", 1}});
  sliding.erase("layer_types");
  EXPECT_EQ(windows(sliding), (Windows{0, 16}));
  EXPECT_EQ(windows(config_json("gemma3")), (Windows{6, 6, 0}));
  EXPECT_EQ(windows(config_json("smollm3")), (Windows{0, 6, 0}));
}

TEST(DecoderConfig, AcceptsASlidingWindowThatIsOffOrWiderThanTheModel) {
  auto qwen2 = config_json("qwen2_tied");
  EXPECT_NO_THROW(parse(with(qwen2, {{"use_sliding_window", false}, {"sliding_window", 16}})));
  EXPECT_NO_THROW(parse(with(qwen2, {{"use_sliding_window", true}, {"sliding_window", 64}, {"max_window_layers", 1}})));
  EXPECT_NO_THROW(parse(with(qwen2, {{"use_sliding_window", true}, {"sliding_window", 16}, {"max_window_layers", 2}})));
}

TEST(DecoderConfig, NamesAFieldThatIsMissingOrWrong) {
  auto qwen2 = config_json("qwen2_tied");
  auto missing = qwen2;
  missing.erase("hidden_size");
  expect_refused(missing, "the field 'hidden_size' is missing");
  expect_refused(with(qwen2, {{"hidden_size", -32}}), "'hidden_size' must be a whole number in 1 .. 2^28; got -32");
  expect_refused(with(qwen2, {{"hidden_size", "32"}}), "'hidden_size' must be a whole number in 1 .. 2^28; got \"32\"");
  expect_refused(with(qwen2, {{"vocab_size", 1e18}}), "'vocab_size' must be a whole number in 1 .. 2^28; got 1e+18");
  expect_refused(with(qwen2, {{"num_hidden_layers", 20000}}), "a model may have at most 10000 layers; got 20000");
  expect_refused(with(qwen2, {{"num_key_value_heads", 3}}),
                 "num_attention_heads must be a multiple of num_key_value_heads; got 4 and 3");
  expect_refused(with(qwen2, {{"head_dim", 7}}), "head_dim must be even; got 7");
  expect_refused(with(qwen2, {{"rms_norm_eps", 0}}), "'rms_norm_eps' must be above 0; got 0");
  expect_refused(with(qwen2, {{"tie_word_embeddings", 1}}), "'tie_word_embeddings' must be true or false; got 1");
  expect_refused(with(qwen2, {{"rope_parameters", {{"rope_type", "linear"}, {"factor", 0}}}}),
                 "'factor' must be above 0; got 0");
  expect_refused(with(qwen2, {{"rope_parameters", 3}}), "the rope settings must be a JSON object; got 3");
}

TEST(DecoderConfig, RefusesWhatIsNoJsonObject) {
  EXPECT_THROW(DecoderConfig::from_json("[]", "config.json"), UserError);
  EXPECT_THROW(DecoderConfig::from_json("{\"a\": ", "config.json"), UserError);
  std::string deep(1000000, '[');
  EXPECT_EQ(message_of([&] { DecoderConfig::from_json("{\"rope_parameters\": " + deep, "config.json"); }),
            "[config.json] JSON may nest at most 64 deep; this nests deeper");
}

TEST(DecoderConfig, AllocatesNothingForAConfigThatItsTensorsDoNotFit) {
  auto config =
      parse(with(config_json("qwen2_tied"), {{"hidden_size", 1 << 28}, {"vocab_size", 1 << 28}, {"head_dim", 8}}));
  EXPECT_THROW(Decoder(config, load_hf_tensors(decoder_path("qwen2_tied")), at::kFloat, "DIR"), UserError);
}

}  // namespace
}  // namespace rft::decoder_config_test
