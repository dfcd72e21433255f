// SD3Transformer2DModel against diffusers: outputs, gradients, names, and what is refused.
#include "dit_fixtures.h"

namespace rft::sd3_test {
namespace {

using namespace dits;

class Sd3s : public ::testing::TestWithParam<std::pair<const char*, size_t>> {};

TEST_P(Sd3s, GiveDiffusersOutputsAndGradients) {
  expect_diffusers_outputs_and_gradients(make_sd3, GetParam().first, GetParam().second);
}
TEST_P(Sd3s, GiveDiffusersOutputAtAnotherSize) { expect_diffusers_output_at_another_size(make_sd3, GetParam().first); }
TEST_P(Sd3s, CheckpointingChangesNoGradient) { expect_checkpointing_changes_no_gradient(make_sd3, GetParam().first); }
TEST_P(Sd3s, AnUntrainedOneHasDiffusersTensors) {
  expect_an_untrained_one_has_diffusers_tensors(make_sd3, GetParam().first);
}
TEST_P(Sd3s, GiveDiffusersOutputInBfloat16) { expect_diffusers_output_in_bfloat16(make_sd3, GetParam().first); }

INSTANTIATE_TEST_SUITE_P(All, Sd3s,
                         ::testing::Values(std::pair{"sd3", 12}, std::pair{"sd35", 16},
                                           std::pair{"sd3_stretched", 10}));

TEST(Sd3, AnUntrainedOneHasDiffusersPositionsWhichAreNotTrained) {
  auto model = make_sd3(config_of("sd3"), WeightSource::random(at::kFloat, 1), "random");
  std::map<std::string, Tensor> made(model->weights().tensors.begin(), model->weights().tensors.end());
  EXPECT_LE(difference(made.at("pos_embed.pos_embed"), tensors_of("sd3").at("pos_embed.pos_embed")), 1e-6);
  EXPECT_EQ(model->weights().buffers, std::set<std::string>{"pos_embed.pos_embed"});
  EXPECT_TRUE(load(make_sd3, "sd3_stretched")->weights().buffers.empty());
}

TEST(Sd3, SaysWhatItTakesAndGives) {
  auto model = load(make_sd3, "sd3_stretched");
  EXPECT_EQ(model->in_channels(), 4);
  EXPECT_EQ(model->out_channels(), 4);
  EXPECT_EQ(model->sample_size(), 8);
  EXPECT_EQ(model->num_classes(), 0);
  auto config = nlohmann::json::parse(config_of("sd3"));
  config.erase("out_channels");
  EXPECT_EQ(make_sd3(config.dump(), WeightSource::random(at::kFloat, 1), "random")->out_channels(), 16);
}

TEST(Sd3, WhatDoesNotFitIsNamed) {
  auto message = tensors_refusal(make_sd3, "sd35",
                                 {{"transformer_blocks.0.attn2.norm_k.weight", {}},
                                  {"pos_embed.pos_embed", {}},
                                  {"context_embedder.weight", at::zeros({16, 13})},
                                  {"transformer_blocks.2.attn.to_add_out.bias", at::zeros({16})}});
  expect_names(message, "'transformer_blocks.0.attn2.norm_k.weight' is missing");
  expect_names(message, "'pos_embed.pos_embed' is missing");
  expect_names(message, "'context_embedder.weight' must be [16, 12], is [16, 13]");
  expect_names(message, "'transformer_blocks.2.attn.to_add_out.bias' belongs to no layer");
  expect_names(refusal(make_sd3, "sd3", {{"qk_norm", "layer_norm"}}), "`qk_norm`");
  expect_names(refusal(make_sd3, "sd3", {{"caption_projection_dim", 20}}), "`caption_projection_dim`");
  expect_names(refusal(make_sd3, "sd3", {{"num_layers", 0}}), "`num_layers`");
  expect_names(refusal(make_sd3, "sd3", {{"patch_size", 16}}), "`patch_size`");
  expect_names(refusal(make_sd3, "sd3", {{"fancy_field", 1}}), "`fancy_field`");
}

TEST(Sd3, SamplesAndRowsThatDoNotFitAreNamed) {
  Conditioning told = told_of(case_of("sd3"));
  Tensor sample = at::zeros({2, 4, 8, 8});
  expect_names(call_refusal(make_sd3, "sd3", at::zeros({2, 16, 8, 8}), told), "4 channels");
  expect_names(call_refusal(make_sd3, "sd3", at::zeros({2, 4, 8, 20}), told), "at most 18 x 18");
  Conditioning untold = told;
  untold.pooled = Tensor();
  expect_names(call_refusal(make_sd3, "sd3", sample, untold), "a pooled text; the rows have none");
  told.text = at::zeros({2, 5, 8});
  expect_names(call_refusal(make_sd3, "sd3", sample, told), "a text of width 12; got 8");
}

}  // namespace
}  // namespace rft::sd3_test
