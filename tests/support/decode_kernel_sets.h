#pragma once
/// Runs a test's body under every set of decoding kernels that this CPU has.
#include <gtest/gtest.h>

#include <functional>

#include "ops/decode_kernels.h"

namespace rft::testing {

inline void with_every_kernel_set(const std::function<void()>& body) {
  for (const ops::DecodeKernels* set : ops::decode_kernel_sets()) {
    SCOPED_TRACE(set->name);
    ops::use_decode_kernels(*set);
    body();
  }
  ops::use_decode_kernels(*ops::decode_kernel_sets().front());
}

}  // namespace rft::testing
