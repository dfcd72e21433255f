#pragma once
/// Which numbers a pointer points to, and kernels made for each.
#include "kernels/device.h"

namespace rft::kernels {

enum class NumberType : int { float32, bfloat16, float16 };

/// body(T{}) for the C++ type of `type`.
template <class Body>
auto with_type(NumberType type, const Body& body) {
  switch (type) {
    case NumberType::bfloat16:
      return body(bf16{});
    case NumberType::float16:
      return body(f16{});
    default:
      return body(float{});
  }
}

}  // namespace rft::kernels
