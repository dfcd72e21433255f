#include "train/offload.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>
#include <c10/core/Event.h>
#include <c10/core/impl/VirtualGuardImpl.h>

#include <algorithm>
#include <utility>

#include "rft/core/error.h"

namespace rft {
namespace {

/// Through the stream that computes, so that nobody need wait for anybody but the host for what it reads.
class StreamCopies : public HostCopies {
 public:
  explicit StreamCopies(const at::Device& device) : device_(device), guard_(device.type()) {}

  Tensor staging(int64_t n, at::ScalarType type) override {
    return at::empty({n}, at::TensorOptions().dtype(type).pinned_memory(true));
  }
  std::function<void()> begin(const Tensor& into, const Tensor& from) override {
    into.copy_(from, /*non_blocking=*/true);
    auto done = std::make_shared<c10::Event>(device_.type());
    done->record(guard_.getStream(device_));
    return [done] { done->synchronize(); };
  }

 private:
  at::Device device_;
  c10::impl::VirtualGuardImpl guard_;
};

}  // namespace

std::shared_ptr<HostCopies> host_copies(const at::Device& device) {
  if (device.is_cpu()) run_failed("train.offload", "the host's memory is where the CPU's weights are already");
  return std::make_shared<StreamCopies>(device);
}

OffloadedSteps::OffloadedSteps(std::shared_ptr<HostCopies> copies, at::ScalarType type, int64_t chunk)
    : copies_(std::move(copies)), chunk_(chunk) {
  for (Slot& slot : slots_) slot.gradient = copies_->staging(chunk, type), slot.value = copies_->staging(chunk, type);
}

void OffloadedSteps::add(const Weights& weights, const ops::AdamWStep& how) {
  for (int64_t at = 0; at < weights.value.numel(); at += chunk_) {
    int64_t count = std::min(chunk_, weights.value.numel() - at);
    auto part = [&](const Tensor& x) { return x.narrow(0, at, count); };
    begin({part(weights.gradient), part(weights.value), part(weights.master), part(weights.mean), part(weights.square)},
          how);
  }
}

/// The slot's gradients were read, and are not needed any more, when it was computed.
void OffloadedSteps::begin(const Weights& weights, const ops::AdamWStep& how) {
  Slot& slot = slots_[next_];
  next_ = 1 - next_;
  slot.weights = weights, slot.how = how;
  slot.arrived = copies_->begin(slot.gradient.narrow(0, 0, weights.gradient.numel()), weights.gradient);
  compute(slots_[next_]);
}

void OffloadedSteps::compute(Slot& slot) {
  if (!slot.arrived) return;
  std::exchange(slot.arrived, nullptr)();
  if (slot.left) std::exchange(slot.left, nullptr)();
  const Weights& of = slot.weights;
  Tensor gradient = slot.gradient.narrow(0, 0, of.value.numel()), value = slot.value.narrow(0, 0, of.value.numel());
  ops::adamw(gradient, slot.how, of.master, of.mean, of.square, value);
  slot.left = copies_->begin(of.value, value);
}

void OffloadedSteps::finish() {
  compute(slots_[1 - next_]);
  for (Slot& slot : slots_) {
    if (slot.left) std::exchange(slot.left, nullptr)();
    slot.weights = {};
  }
}

}  // namespace rft
