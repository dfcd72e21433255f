#include "cuda/runtime.h"

#include <ATen/ATen.h>
#include <ATen/cuda/CUDAContext.h>
#include <ATen/cuda/CUDAEvent.h>
#include <ATen/cuda/CUDAGraph.h>
#include <c10/cuda/CUDAGuard.h>
#include <c10/cuda/CUDAStream.h>

#include "rft/core/error.h"

namespace rft::cuda {

void* stream() { return c10::cuda::getCurrentCUDAStream().stream(); }

void check(int error, const char* what) {
  if (error != 0) run_failed("cuda", what, ": ", cudaGetErrorString(static_cast<cudaError_t>(error)));
}

int processors() { return at::cuda::getCurrentDeviceProperties()->multiProcessorCount; }

struct Graph::Impl {
  std::unique_ptr<at::cuda::CUDAGraph> graph;
};
Graph::Graph() : impl_(std::make_unique<Impl>()) {}
Graph::~Graph() = default;
Graph::Graph(Graph&&) noexcept = default;
Graph& Graph::operator=(Graph&&) noexcept = default;
bool Graph::captured() const { return impl_->graph != nullptr; }

void Graph::capture(const std::function<void()>& work) {
  auto side = c10::cuda::getStreamFromPool();
  auto current = c10::cuda::getCurrentCUDAStream();
  current.synchronize();
  auto graph = std::make_unique<at::cuda::CUDAGraph>();
  {
    c10::cuda::CUDAStreamGuard guard(side);
    work();
    side.synchronize();
    graph->capture_begin();
    work();
    graph->capture_end();
  }
  impl_->graph = std::move(graph);
}

void Graph::replay() { impl_->graph->replay(); }

struct Event::Impl {
  at::cuda::CUDAEvent event;
};
Event::Event() : impl_(std::make_unique<Impl>()) {}
Event::~Event() = default;
Event::Event(Event&&) noexcept = default;
Event& Event::operator=(Event&&) noexcept = default;
void Event::record() { impl_->event.record(); }
bool Event::reached() { return impl_->event.query(); }
void Event::wait() const { impl_->event.synchronize(); }

Tensor pinned(at::IntArrayRef sizes, at::ScalarType type) {
  return at::empty(sizes, at::TensorOptions().dtype(type).pinned_memory(true));
}

}  // namespace rft::cuda
