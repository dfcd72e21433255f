#include "rft/nn/on_device.h"

#include <ATen/ATen.h>

namespace rft {
namespace {

Tensor moved(const Tensor& x, const at::Device& device) { return x.defined() ? x.to(device) : x; }

Conditioning moved(const Conditioning& c, const at::Device& device) {
  Conditioning out = c;
  for (Tensor* x : {&out.class_labels, &out.text, &out.pooled, &out.time_ids, &out.guidance, &out.control})
    *x = moved(*x, device);
  return out;
}

ControlResiduals moved(const ControlResiduals& c, const at::Device& device) {
  ControlResiduals out{{}, moved(c.mid, device)};
  for (const Tensor& x : c.down) out.down.push_back(moved(x, device));
  return out;
}

class DeviceDenoiser : public Denoiser {
 public:
  DeviceDenoiser(std::unique_ptr<Denoiser> network, const at::Device& device)
      : network_(std::move(network)), device_(device) {}
  Tensor forward(const Tensor& sample, const Tensor& timestep, const Conditioning& conditioning,
                 const ControlResiduals* control) const override {
    ControlResiduals there;
    if (control) there = moved(*control, device_);
    return network_
        ->forward(sample.to(device_), timestep.to(device_), moved(conditioning, device_), control ? &there : nullptr)
        .to(sample.device());
  }
  const Weights& weights() const override { return network_->weights(); }
  const std::string& config_json() const override { return network_->config_json(); }
  int64_t in_channels() const override { return network_->in_channels(); }
  int64_t out_channels() const override { return network_->out_channels(); }
  int64_t sample_size() const override { return network_->sample_size(); }
  int64_t num_classes() const override { return network_->num_classes(); }
  bool takes_guidance() const override { return network_->takes_guidance(); }
  void set_gradient_checkpointing(bool on) override { network_->set_gradient_checkpointing(on); }
  void set_frames(int64_t frames) override { network_->set_frames(frames); }

 private:
  std::unique_ptr<Denoiser> network_;
  at::Device device_;
};

class DeviceControlNet : public ControlNet {
 public:
  DeviceControlNet(std::unique_ptr<ControlNet> network, const at::Device& device)
      : network_(std::move(network)), device_(device) {}
  /// The residuals stay on the device, where the denoiser is too.
  ControlResiduals forward(const Tensor& sample, const Tensor& timestep, const Conditioning& conditioning,
                           double scale) const override {
    return network_->forward(sample.to(device_), timestep.to(device_), moved(conditioning, device_), scale);
  }
  const Weights& weights() const override { return network_->weights(); }
  const std::string& config_json() const override { return network_->config_json(); }
  void set_gradient_checkpointing(bool on) override { network_->set_gradient_checkpointing(on); }

 private:
  std::unique_ptr<ControlNet> network_;
  at::Device device_;
};

class DeviceCodec : public ImageCodec {
 public:
  DeviceCodec(std::unique_ptr<ImageCodec> network, const at::Device& device)
      : network_(std::move(network)), device_(device) {}
  Tensor encode(const Tensor& images) const override {
    return network_->encode(images.to(device_)).to(images.device());
  }
  Tensor decode(const Tensor& latents) const override {
    return network_->decode(latents.to(device_)).to(latents.device());
  }
  int64_t latent_channels() const override { return network_->latent_channels(); }
  int64_t scale_factor() const override { return network_->scale_factor(); }
  const Weights& weights() const override { return network_->weights(); }
  const std::string& config_json() const override { return network_->config_json(); }
  void set_gradient_checkpointing(bool on) override { network_->set_gradient_checkpointing(on); }

 private:
  std::unique_ptr<ImageCodec> network_;
  at::Device device_;
};

template <class Wrapper, class Network>
std::unique_ptr<Network> wrapped(std::unique_ptr<Network> network, const at::Device& device) {
  if (!network || device.is_cpu()) return network;
  return std::make_unique<Wrapper>(std::move(network), device);
}

}  // namespace

std::unique_ptr<Denoiser> on_device(std::unique_ptr<Denoiser> network, const at::Device& device) {
  return wrapped<DeviceDenoiser>(std::move(network), device);
}
std::unique_ptr<ControlNet> on_device(std::unique_ptr<ControlNet> network, const at::Device& device) {
  return wrapped<DeviceControlNet>(std::move(network), device);
}
std::unique_ptr<ImageCodec> on_device(std::unique_ptr<ImageCodec> network, const at::Device& device) {
  return wrapped<DeviceCodec>(std::move(network), device);
}

}  // namespace rft
