#pragma once
/// Our operators in LibTorch's dispatcher, "rft::NAME": a device's kernel is registered by whoever has it (the CUDA
/// part when it is loaded), and librft.so knows none of them.
#include <ATen/core/dispatch/Dispatcher.h>

namespace rft::ops {

/// static const auto op = find_op<Tensor(const Tensor&)>("rft::swiglu");  op.call(x)
template <class Signature>
c10::TypedOperatorHandle<Signature> find_op(const char* name) {
  return c10::Dispatcher::singleton().findSchemaOrThrow(name, "").typed<Signature>();
}

}  // namespace rft::ops
