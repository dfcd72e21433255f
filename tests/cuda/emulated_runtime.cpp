// The CUDA runtime as the emulator has it: all work is done when it is started.
#include <ATen/ATen.h>

#include "cuda/runtime.h"
#include "rft/core/error.h"

namespace rft::cuda {

void* stream() { return nullptr; }
void check(int error, const char* what) {
  if (error != 0) run_failed("cuda", what, ": error ", error);
}
int processors() { return 4; }

struct Graph::Impl {
  std::function<void()> work;
};
Graph::Graph() : impl_(std::make_unique<Impl>()) {}
Graph::~Graph() = default;
Graph::Graph(Graph&&) noexcept = default;
Graph& Graph::operator=(Graph&&) noexcept = default;
bool Graph::captured() const { return static_cast<bool>(impl_->work); }
void Graph::capture(const std::function<void()>& work) { work(), impl_->work = work; }
void Graph::replay() { impl_->work(); }

struct Event::Impl {};
Event::Event() = default;
Event::~Event() = default;
Event::Event(Event&&) noexcept = default;
Event& Event::operator=(Event&&) noexcept = default;
void Event::record() {}
bool Event::reached() { return true; }
void Event::wait() const {}

Tensor pinned(at::IntArrayRef sizes, at::ScalarType type) { return at::empty(sizes, type); }

}  // namespace rft::cuda
