#pragma once
/// What the GPU knows of the samples in the making, a row a slot, and how the host changes it between steps without
/// waiting.
#include <vector>

#include "cuda/runtime.h"
#include "kernels/decode_sample.h"

namespace rft::cuda {

/// A sample that takes a slot.
struct SlotStart {
  int64_t slot;
  kernels::DecodeSlot state;
  int token, position;         ///< the prompt's last token, whose logits are known
  std::vector<int> pages;      ///< in the order of positions
  std::vector<unsigned> seen;  ///< bits of the ids that the repetition penalty applies to; empty: none
};

class DecodeSlots {
 public:
  static constexpr int kRing = 32;  ///< tokens that a slot keeps until the host has read them

  DecodeSlots(int64_t slots, int64_t width, int64_t vocab, const at::Device& device);

  void start(const std::vector<SlotStart>& starts);
  /// Room for `width` pages a slot.
  void widen(int64_t width);
  void make_idle(const std::vector<int64_t>& slots);
  /// Slot i becomes what slot order[i] was; those behind are idle.
  void reorder(const std::vector<int64_t>& order);
  /// Runs `work` with all slots idle.
  void idle_during(const std::function<void()>& work);

  /// Draws for `count` slots: the n-th slot, from the n-th row of logits [.., V], or from those that are named.
  void sample(const Tensor& logits, int64_t count, double softcap, const Tensor& rows = {}, const Tensor& slots = {});

  /// The tokens of the first `count` slots, copied to the host: there once `event` is reached.
  struct Copied {
    Tensor entries;  ///< [count, kRing] SampledEntry
    Tensor failed;   ///< [1] int32: whether logits were not finite
    Event event;
    const kernels::SampledEntry& at(int64_t slot, int64_t draw) const {
      return static_cast<const kernels::SampledEntry*>(entries.const_data_ptr())[slot * kRing + draw % kRing];
    }
  };
  Copied copy(int64_t count) const;

  Tensor token, position;  ///< [slots] int32
  Tensor table;            ///< [slots, width] int32

 private:
  Tensor state_, seen_, out_, failed_, sums_;
  int64_t vocab_;
};

/// A copy on the device of a tensor of the host, which may be dropped at once.
Tensor uploaded(const Tensor& host, const at::Device& device);

}  // namespace rft::cuda
