#pragma once
/// A model small enough to solve by hand: answer = scale * x + shift, in float64 on one 2 x 2 pixel plane.
#include <ATen/ATen.h>

#include "rft/policy/diffusion.h"

namespace rft::testing {

class LinearDenoiser : public Denoiser {
 public:
  explicit LinearDenoiser(at::ScalarType dtype) {
    scale_ = at::full({1, 1, 1}, 0.98, dtype);
    shift_ = at::tensor({0.01, -0.02, 0.03, 0.005}, dtype).view({1, 2, 2});
    weights_.tensors = {{"scale", scale_}, {"shift", shift_}};
  }
  Tensor forward(const Tensor& x, const Tensor& timestep, const Conditioning&, const ControlResiduals*) const override {
    Tensor level = timestep.to(x.dtype()).div(1000).view({-1, 1, 1, 1});
    return x.mul(scale_).add(shift_.mul(level.add(0.5)));
  }
  const Weights& weights() const override { return weights_; }
  const std::string& config_json() const override { return config_; }
  int64_t in_channels() const override { return 1; }
  int64_t out_channels() const override { return 1; }
  int64_t sample_size() const override { return 2; }
  void set_gradient_checkpointing(bool) override {}

 private:
  Tensor scale_, shift_;
  Weights weights_;
  std::string config_ = "{}";
};

inline ImagePipeline linear_pipeline(at::ScalarType dtype = at::kDouble) {
  ImagePipeline out;
  out.directory = "linear", out.class_name = "DDIMPipeline", out.denoiser_part = "unet";
  out.denoiser = std::make_unique<LinearDenoiser>(dtype);
  out.scheduler = make_scheduler(
      R"({"_class_name": "DDIMScheduler", "beta_schedule": "linear", "clip_sample": false,
          "timestep_spacing": "trailing"})",
      "", "linear");
  return out;
}

/// A policy over it with these rollout options.
inline std::unique_ptr<Diffusion> linear_policy(const std::string& rollout, at::ScalarType dtype = at::kDouble) {
  auto policy = std::make_unique<Diffusion>([dtype] { return linear_pipeline(dtype); }, Diffusion::Options{});
  Config block = Config::parse(rollout, "rollout");
  OptionReader reader(block);
  policy->visit_rollout(reader);
  return policy;
}

}  // namespace rft::testing
