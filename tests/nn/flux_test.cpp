// FluxTransformer2DModel against diffusers, with the packing and scaling of its pipeline.
#include "dit_fixtures.h"

namespace rft::flux_test {
namespace {

using namespace dits;

class Fluxes : public ::testing::TestWithParam<std::pair<const char*, size_t>> {};

TEST_P(Fluxes, GiveDiffusersOutputsAndGradients) {
  expect_diffusers_outputs_and_gradients(make_flux, GetParam().first, GetParam().second);
}
TEST_P(Fluxes, GiveDiffusersOutputAtAnotherSize) {
  expect_diffusers_output_at_another_size(make_flux, GetParam().first);
}
TEST_P(Fluxes, CheckpointingChangesNoGradient) {
  expect_checkpointing_changes_no_gradient(make_flux, GetParam().first);
}
TEST_P(Fluxes, AnUntrainedOneHasDiffusersTensors) {
  expect_an_untrained_one_has_diffusers_tensors(make_flux, GetParam().first);
}
TEST_P(Fluxes, GiveDiffusersOutputInBfloat16) { expect_diffusers_output_in_bfloat16(make_flux, GetParam().first); }

INSTANTIATE_TEST_SUITE_P(All, Fluxes, ::testing::Values(std::pair{"flux", 17}, std::pair{"flux_schnell", 17}));

TEST(Flux, SaysWhatItTakesAndGivesUnpacked) {
  auto model = load(make_flux, "flux");
  EXPECT_EQ(model->in_channels(), 4);
  EXPECT_EQ(model->out_channels(), 4);
  EXPECT_EQ(model->sample_size(), 128);
  EXPECT_TRUE(model->weights().buffers.empty());
}

TEST(Flux, WhatDoesNotFitIsNamed) {
  auto message = tensors_refusal(make_flux, "flux",
                                 {{"single_transformer_blocks.1.proj_mlp.weight", {}},
                                  {"x_embedder.weight", at::zeros({16, 64})},
                                  {"single_transformer_blocks.0.attn.to_out.0.bias", at::zeros({16})}});
  expect_names(message, "'single_transformer_blocks.1.proj_mlp.weight' is missing");
  expect_names(message, "'x_embedder.weight' must be [16, 16], is [16, 64]");
  expect_names(message, "'single_transformer_blocks.0.attn.to_out.0.bias' belongs to no layer");
  expect_names(refusal(make_flux, "flux", {{"patch_size", 2}}), "`patch_size`");
  expect_names(refusal(make_flux, "flux", {{"out_channels", 8}}), "`out_channels`");
  expect_names(refusal(make_flux, "flux", {{"in_channels", 18}}), "`in_channels`");
  expect_names(refusal(make_flux, "flux", {{"axes_dims_rope", {2, 2, 2}}}), "`axes_dims_rope`");
  expect_names(refusal(make_flux, "flux", {{"axes_dims_rope", {1, 5, 2}}}), "`axes_dims_rope`");
  expect_names(refusal(make_flux, "flux", {{"qk_norm", "rms_norm"}}), "`qk_norm`");
}

TEST(Flux, SamplesAndRowsThatDoNotFitAreNamed) {
  Conditioning told = told_of(case_of("flux"));
  Tensor sample = at::zeros({2, 4, 8, 8});
  expect_names(call_refusal(make_flux, "flux", at::zeros({2, 16, 8, 8}), told), "4 channels");
  expect_names(call_refusal(make_flux, "flux", at::zeros({2, 4, 8, 7}), told), "multiples of 2");
  Conditioning untold = told;
  untold.guidance = Tensor();
  expect_names(call_refusal(make_flux, "flux", sample, untold), "guidance");
  untold = told, untold.text = Tensor();
  expect_names(call_refusal(make_flux, "flux", sample, untold), "a text; the rows have none");
  told.pooled = at::zeros({2, 9});
  expect_names(call_refusal(make_flux, "flux", sample, told), "a pooled text of width 6; got 9");
}

}  // namespace
}  // namespace rft::flux_test
