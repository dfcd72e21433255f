#pragma once
/// The optimizer's state in the host's memory while the weights are on a device (ZeRO-Offload, Ren et al. 2021,
/// arXiv:2101.06840).
#include <array>
#include <functional>
#include <memory>

#include "rft/core/tensor.h"
#include "rft/ops/adamw.h"

namespace rft {

/// Copies between a device and its host.
class HostCopies {
 public:
  virtual ~HostCopies() = default;
  /// [n] in the host's memory, where copies go fast.
  virtual Tensor staging(int64_t n, at::ScalarType type) = 0;
  /// Begins to copy `from` to `into`, tensors of one type of which one is staging. Copies happen in the order in which
  /// they were begun, after all that the device was told to do before. What is returned waits for the end, until when
  /// nobody changes either.
  virtual std::function<void()> begin(const Tensor& into, const Tensor& from) = 0;
};

/// Those of a device with memory of its own, over page-locked staging.
std::shared_ptr<HostCopies> host_copies(const at::Device& device);

/// Steps of AdamW on the host: gradients come from the device and weights go back, some at a time, the next ones'
/// gradients while these are computed.
class OffloadedSteps {
 public:
  /// Weights that are under way at a time: enough for the copies' speed, and little beside a model.
  static constexpr int64_t kChunk = int64_t{1} << 22;
  /// `type`: of weights and gradients, of which `chunk` are under way at a time.
  OffloadedSteps(std::shared_ptr<HostCopies> copies, at::ScalarType type, int64_t chunk = kChunk);

  /// Weights that are stepped alike, each [n].
  struct Weights {
    Tensor gradient, value;       ///< on the device, of `type`
    Tensor master, mean, square;  ///< on the host, float32 or wider
  };
  /// Begins the step of these; finish() must follow.
  void add(const Weights& weights, const ops::AdamWStep& how);
  /// All weights that were added are stepped, and on the device.
  void finish();

 private:
  /// Two of them take turns: one is computed while the other's gradients come.
  struct Slot {
    Tensor gradient, value;  ///< staging
    Weights weights;
    ops::AdamWStep how = {};
    std::function<void()> arrived, left;  ///< the gradients have come, the weights have gone; empty where none are
  };
  void begin(const Weights& weights, const ops::AdamWStep& how);
  void compute(Slot& slot);

  std::shared_ptr<HostCopies> copies_;
  std::array<Slot, 2> slots_;
  int64_t chunk_;
  size_t next_ = 0;
};

}  // namespace rft
