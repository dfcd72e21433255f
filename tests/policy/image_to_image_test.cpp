// Image-to-image runs against diffusers' pipelines.
#include <ATen/ATen.h>

#include "rft/io/rows.h"
#include "rft/io/safetensors.h"
#include "rft/policy/diffusion.h"
#include "support.h"

namespace rft::image_to_image_test {
namespace {

struct Case {
  const char* name;
  const char* pipeline;
  const char* scheduler;
};

class ImageToImageRuns : public ::testing::TestWithParam<Case> {
 protected:
  static std::unique_ptr<Diffusion> policy(const std::string& rollout) {
    Diffusion::Options options;
    options.path = testing::fixture(cat("parity/data/pipelines/", GetParam().pipeline));
    auto out = std::make_unique<Diffusion>(options);
    Config block = Config::parse("{steps: 10, guidance: 4, eta: 0, scheduler: '" + std::string(GetParam().scheduler) +
                                 "'" + rollout + "}");
    OptionReader reader(block);
    out->visit_rollout(reader);
    return out;
  }
};

TEST_P(ImageToImageRuns, EndWhereDiffusersDo) {
  auto given = load_safetensors(testing::fixture("parity/data/image_to_image.safetensors")).tensors;
  std::string rows = testing::fixture(cat("parity/data/pipelines/", GetParam().pipeline, "/prompts.jsonl"));
  Fields context = policy("")->contexts(Rows::load(rows)).context;
  context.set("start", given.at("start"));
  Tensor latents = policy(", strength: 0.65")->run(context, given.at("noise"), {}, 0, 0);
  EXPECT_LE(latents.sub(given.at(GetParam().name)).abs().max().item<double>(), 1e-4);
}

INSTANTIATE_TEST_SUITE_P(All, ImageToImageRuns,
                         ::testing::Values(Case{"sd.ddim", "sd", "ddim"}, Case{"sd.euler", "sd", "euler"},
                                           Case{"sd.dpmsolver++", "sd", "dpmsolver++"},
                                           Case{"sd3.flow_match_euler", "sd3", ""}),
                         [](const auto& info) { return cat("number_", info.index); });

}  // namespace
}  // namespace rft::image_to_image_test
