#include "nn/dit_layers.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

#include "rft/core/error.h"

namespace rft {
namespace {

constexpr double kNormEps = 1e-6;
constexpr int64_t kTimeFeatures = 256;

Tensor check_width(const Tensor& given, const char* what, int64_t width, at::ScalarType dtype) {
  if (!given.defined()) bad_input("prompt", "the model is told a ", what, "; the rows have none");
  if (given.size(-1) != width)
    bad_input("prompt", "the model takes a ", what, " of width ", width, "; got ", given.size(-1));
  return given.to(dtype);
}

}  // namespace

Tensor modulated(const Tensor& x, const Tensor& shift, const Tensor& scale) {
  Tensor normed = at::layer_norm(x, {x.size(-1)}, {}, {}, kNormEps);
  return normed.mul(scale.unsqueeze(1).add(1)).add(shift.unsqueeze(1));
}

Tensor gated(const Tensor& x, const Tensor& gate, const Tensor& y) { return x.add(gate.unsqueeze(1).mul(y)); }

Modulation::Modulation(const WeightSource& source, const std::string& name, int64_t width, int64_t count)
    : linear(source.linear(name + ".linear", width, count * width)), count(count) {}

std::vector<Tensor> Modulation::operator()(const Tensor& told) const { return apply(*linear, told).chunk(count, 1); }

FeedForward::FeedForward(const WeightSource& source, const std::string& name, int64_t width)
    : up(source.linear(name + ".net.0.proj", width, 4 * width)),
      down(source.linear(name + ".net.2", 4 * width, width)) {}

Tensor FeedForward::operator()(const Tensor& x) const {
  return apply(*down, activate(activation, apply(*up, x), "config.json"));
}

TextTimeEmbedding::TextTimeEmbedding(const WeightSource& source, int64_t width, int64_t pooled_width, bool guided)
    : time(source.in("timestep_embedder"), kTimeFeatures, width),
      text(source.in("text_embedder"), pooled_width, width) {
  if (guided) guidance.emplace(source.in("guidance_embedder"), kTimeFeatures, width);
}

Tensor TextTimeEmbedding::operator()(const Tensor& t, const Tensor& pooled, const Tensor& scale) const {
  auto features = [&](const Tensor& x) { return sinusoidal(x, kTimeFeatures, true, 0).to(pooled.scalar_type()); };
  Tensor out = time(features(t));
  if (guidance) out = out.add((*guidance)(features(scale)));
  return out.add(text(pooled));
}

std::pair<Tensor, Tensor> told_text(const Conditioning& told, int64_t width, int64_t pooled_width,
                                    at::ScalarType dtype) {
  return {check_width(told.text, "text", width, dtype), check_width(told.pooled, "pooled text", pooled_width, dtype)};
}

void check_sample(const Tensor& sample, int64_t channels, int64_t patch, const ControlResiduals* control) {
  if (control) bad_input("controlnet", "a transformer takes none; ControlNets go with a UNet2DConditionModel");
  if (sample.dim() != 4 || sample.size(1) != channels)
    bad_input("sample", "the model takes samples of ", channels, " channels, [N, ", channels, ", h, w]; got ",
              sample.sizes());
  if (sample.size(2) % patch || sample.size(3) % patch)
    bad_input("sample", "height and width must be multiples of ", patch, ", the model's patches; got ", sample.size(2),
              " x ", sample.size(3));
}

Tensor TransformerDenoiser::through(const BodyOfMany& block, const std::vector<Tensor>& inputs) const {
  return checkpoint_ && c10::GradMode::is_enabled() ? recompute_in_backward(block, inputs) : block(inputs);
}

}  // namespace rft
