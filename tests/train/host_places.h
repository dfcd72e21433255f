#pragma once
/// A device and its host as two places of the CPU's memory.
#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>
#include <gtest/gtest.h>

#include <vector>

#include "train/offload.h"

namespace rft::testing {

/// Copies what was begun as late as it may: when somebody waits for it, or for one that was begun later. Whoever reads
/// what he did not wait for finds what was there before, and whoever changes what is under way sends the change.
class LateCopies : public HostCopies {
 public:
  Tensor staging(int64_t n, at::ScalarType type) override {
    bytes_ += n * static_cast<int64_t>(c10::elementSize(type));
    return at::full({n}, -7, type);
  }
  std::function<void()> begin(const Tensor& into, const Tensor& from) override {
    EXPECT_EQ(into.scalar_type(), from.scalar_type());
    begun_.emplace_back(into, from);
    most_ = std::max(most_, begun_.size() - done_);
    return [this, until = begun_.size()] {
      at::NoGradGuard no_grad;
      for (; done_ < until; ++done_) begun_[done_].first.copy_(begun_[done_].second);
    };
  }
  int64_t staging_bytes() const { return bytes_; }
  size_t copies() const { return begun_.size(); }
  size_t waiting() const { return begun_.size() - done_; }
  size_t most_waiting() const { return most_; }

 private:
  std::vector<std::pair<Tensor, Tensor>> begun_;
  size_t done_ = 0, most_ = 0;
  int64_t bytes_ = 0;
};

}  // namespace rft::testing
