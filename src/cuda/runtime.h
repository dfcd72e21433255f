#pragma once
/// What the CUDA part needs of the CUDA runtime, without its headers. tests/cuda/emulated_runtime.cpp gives the same
/// functions for the emulator, with tensors on the CPU.
#include <functional>
#include <memory>

#include "rft/core/tensor.h"

namespace rft::cuda {

/// The current stream of the current device (a cudaStream_t), on which kernels are started.
void* stream();

/// Throws RunError naming `what` where `error`, a cudaError_t, is not 0.
void check(int error, const char* what);

/// Multiprocessors of the current device.
int processors();

/// Work recorded once and started as one. It keeps reading and writing the memory it was recorded with.
class Graph {
 public:
  Graph();
  ~Graph();
  Graph(Graph&&) noexcept;
  Graph& operator=(Graph&&) noexcept;
  /// Records `work`, which must not wait for the device. Runs it once beforehand, so that libraries are set up and
  /// buffers exist.
  void capture(const std::function<void()>& work);
  bool captured() const;
  /// Starts it on the current stream.
  void replay();

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

/// A place in a stream that the host can wait for.
class Event {
 public:
  Event();
  ~Event();
  Event(Event&&) noexcept;
  Event& operator=(Event&&) noexcept;
  void record();      ///< on the current stream
  bool reached();     ///< without waiting
  void wait() const;  ///< until it is reached

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

/// Uninitialised page-locked memory of the host, to and from which copies do not block.
Tensor pinned(at::IntArrayRef sizes, at::ScalarType type);

}  // namespace rft::cuda
