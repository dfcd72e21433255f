// The networks of image pipelines give on a GPU what they give on the CPU, gradients too.
#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

#include <algorithm>
#include <filesystem>

#include "on_device.h"
#include "policy/conditioner.h"
#include "rft/io/rows.h"
#include "rft/policy/image_pipeline.h"
#include "support.h"

namespace rft::image_networks_test {
namespace {
namespace fs = std::filesystem;

std::vector<std::string> pipelines() {
  std::vector<std::string> out;
  for (const auto& entry : fs::directory_iterator(testing::fixture("parity/data/pipelines")))
    if (is_pipeline_directory(entry.path())) out.push_back(entry.path());
  std::sort(out.begin(), out.end());
  return out;
}

Conditioning told(ImagePipeline& pipeline, int64_t rows, int64_t side) {
  testing::TempDir folder;
  std::string lines;
  for (int64_t i = 0; i < rows; ++i) lines += "{\"prompt\": \"a cat\", \"class_label\": 1}\n";
  testing::write_file(folder / "rows.jsonl", lines);
  auto controlnet = std::move(pipeline.controlnet);  // its picture is made below, not read
  Conditioner conditioner(pipeline, -1);
  Conditioning out = conditioner.of(conditioner.contexts(Rows::load(folder / "rows.jsonl"), side, side), side, side);
  pipeline.controlnet = std::move(controlnet);
  if (pipeline.controlnet) out.control = at::ones({rows, 3, side, side}).mul(0.3);
  if (pipeline.denoiser->takes_guidance()) out.guidance = at::full({rows}, 3.5);
  return out;
}

/// The denoiser's answer, its first weight's gradient, and a decoded picture; on the CPU.
std::vector<Tensor> computed(const std::string& directory, const at::Device& device) {
  at::manual_seed(0);
  ImagePipeline pipeline = load_image_pipeline(directory, at::kFloat, device);
  const auto& weights = pipeline.denoiser->weights().tensors;
  Tensor first = weights.front().second;
  first.requires_grad_(true);
  const int64_t size = pipeline.denoiser->sample_size();
  Tensor x = at::randn({2, pipeline.denoiser->in_channels(), size, size}), t = at::full({2}, 10.0);
  Conditioning conditioning = told(pipeline, 2, size * pipeline.factor());
  std::optional<ControlResiduals> control;
  if (pipeline.controlnet) control = pipeline.controlnet->forward(x, t, conditioning);
  Tensor out = pipeline.denoiser->forward(x, t, conditioning, control ? &*control : nullptr);
  out.square().mean().backward();
  std::vector<Tensor> all{out.detach(), first.grad().to(at::kCPU)};
  at::NoGradGuard no_grad;
  if (pipeline.codec) all.push_back(pipeline.codec->decode(x)), all.push_back(pipeline.codec->encode(all.back()));
  return all;
}

TEST(ImageNetworks, GiveTheSameOnTheGpu) {
  if (testing::kEmulated) GTEST_SKIP() << "LibTorch's own kernels need a GPU";
  for (const std::string& directory : pipelines()) {
    auto wanted = computed(directory, at::kCPU), found = computed(directory, testing::device());
    ASSERT_EQ(found.size(), wanted.size());
    for (size_t i = 0; i < found.size(); ++i) {
      ASSERT_TRUE(found[i].is_cpu());
      double scale = wanted[i].norm().item<double>() + 1e-12;
      EXPECT_LT(found[i].sub(wanted[i]).norm().item<double>() / scale, 1e-3) << directory << " " << i;
    }
  }
}

TEST(ImageNetworks, AreTheNetworksThemselvesOnTheCpu) {
  for (const std::string& directory : pipelines())
    for (const Tensor& x : computed(directory, at::kCPU)) EXPECT_TRUE(x.isfinite().all().item<bool>()) << directory;
}

}  // namespace
}  // namespace rft::image_networks_test
