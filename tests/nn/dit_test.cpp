// DiTTransformer2DModel against diffusers: outputs, gradients, names, and what is refused.
#include "dit_fixtures.h"

namespace rft::dit_test {
namespace {

using namespace dits;

class Dits : public ::testing::TestWithParam<std::pair<const char*, size_t>> {};

TEST_P(Dits, GiveDiffusersOutputsAndGradients) {
  expect_diffusers_outputs_and_gradients(make_dit, GetParam().first, GetParam().second);
}
TEST_P(Dits, GiveDiffusersOutputAtAnotherSize) { expect_diffusers_output_at_another_size(make_dit, GetParam().first); }
TEST_P(Dits, CheckpointingChangesNoGradient) { expect_checkpointing_changes_no_gradient(make_dit, GetParam().first); }
TEST_P(Dits, AnUntrainedOneHasDiffusersTensors) {
  expect_an_untrained_one_has_diffusers_tensors(make_dit, GetParam().first);
}
TEST_P(Dits, GiveDiffusersOutputInBfloat16) { expect_diffusers_output_in_bfloat16(make_dit, GetParam().first); }

INSTANTIATE_TEST_SUITE_P(All, Dits, ::testing::Values(std::pair{"dit", 7}, std::pair{"dit_affine", 8}));

TEST(Dit, SaysWhatItTakesAndGives) {
  auto model = load(make_dit, "dit");
  EXPECT_EQ(model->in_channels(), 4);
  EXPECT_EQ(model->out_channels(), 8);
  EXPECT_EQ(model->sample_size(), 8);
  EXPECT_EQ(model->num_classes(), 5);
  EXPECT_EQ(load(make_dit, "dit_affine")->out_channels(), 3);
}

TEST(Dit, TheClassAfterTheLastIsTheNullClass) {
  Tensors given = case_of("dit");
  Conditioning told = told_of(given);
  auto model = load(make_dit, "dit");
  at::NoGradGuard no_grad;
  Tensor with = model->forward(given.at("sample"), given.at("timestep"), told);
  told.class_labels = at::full({2}, 5, at::kLong);
  Tensor without = model->forward(given.at("sample"), given.at("timestep"), told);
  EXPECT_GT(difference(with, without), 1e-3);
}

TEST(Dit, ASampleThatIsNotSquareKeepsItsShape) {
  auto model = load(make_dit, "dit");
  Conditioning told;
  told.class_labels = at::tensor({1}, at::kLong);
  EXPECT_EQ(model->forward(at::randn({1, 4, 4, 10}), at::full({1}, 5.0), told).sizes().vec(),
            (std::vector<int64_t>{1, 8, 4, 10}));
}

TEST(Dit, OlderDirectoriesAreTheSame) {
  auto config = nlohmann::json::parse(config_of("dit"));
  config.update({{"_class_name", "Transformer2DModel"},
                 {"cross_attention_dim", nullptr},
                 {"double_self_attention", false},
                 {"num_vector_embeds", nullptr},
                 {"only_cross_attention", false},
                 {"use_linear_projection", false}});
  Tensors given = case_of("dit");
  auto model = make_dit(config.dump(), WeightSource(tensors_of("dit"), at::kFloat, "here"), "here");
  Tensor got = model->forward(given.at("sample"), given.at("timestep"), told_of(given));
  EXPECT_LE(difference(got, given.at("output")), kClose);
}

TEST(Dit, WhatDoesNotFitIsNamed) {
  auto message = tensors_refusal(
      make_dit, "dit",
      {{"proj_out_1.bias", {}}, {"pos_embed.proj.weight", at::zeros({16, 3, 2, 2})}, {"extra.weight", at::zeros({1})}});
  expect_names(message, "'proj_out_1.bias' is missing");
  expect_names(message, "'pos_embed.proj.weight' must be [16, 4, 2, 2], is [16, 3, 2, 2]");
  expect_names(message, "'extra.weight' belongs to no layer");
  expect_names(refusal(make_dit, "dit", {{"norm_type", "ada_norm_single"}}), "`norm_type`");
  expect_names(refusal(make_dit, "dit", {{"activation_fn", "geglu"}}), "`activation_fn`");
  expect_names(refusal(make_dit, "dit", {{"cross_attention_dim", 12}}), "`cross_attention_dim`");
  expect_names(refusal(make_dit, "dit", {{"positional_embeddings", "sinusoidal"}}), "`positional_embeddings`");
  expect_names(refusal(make_dit, "dit", {{"attention_head_dim", 7}}), "`attention_head_dim`");
  expect_names(refusal(make_dit, "dit", {{"patch_size", 0}}), "`patch_size`");
  expect_names(refusal(make_dit, "dit", {{"num_layers", 0}}), "`num_layers`");
}

TEST(Dit, SamplesAndRowsThatDoNotFitAreNamed) {
  Conditioning told;
  expect_names(call_refusal(make_dit, "dit", at::zeros({1, 4, 8, 8}), told), "class_label");
  told.class_labels = at::tensor({1}, at::kLong);
  expect_names(call_refusal(make_dit, "dit", at::zeros({1, 3, 8, 8}), told), "4 channels");
  expect_names(call_refusal(make_dit, "dit", at::zeros({1, 4, 7, 8}), told), "multiples of 2");
  ControlResiduals control;
  auto model = load(make_dit, "dit");
  expect_names(testing::message_of([&] {
                 model->forward(at::zeros({1, 4, 8, 8}), at::full({1}, 5.0), told, &control);
               }),
               "controlnet");
}

}  // namespace
}  // namespace rft::dit_test
