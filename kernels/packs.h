#pragma once
/// Kernels over rows of numbers come in two: 16-byte accesses where sizes and addresses allow them, else one by one.
#include <cstdint>
#include <initializer_list>
#include <type_traits>

#include "kernels/number_type.h"

namespace rft::kernels {

/// body(T{}, std::integral_constant<int, Size>{}): Size numbers are one access. Rows of `size` numbers start at the
/// pointers.
template <class Body>
int with_packs(NumberType type, int64_t size, std::initializer_list<const void*> pointers, const Body& body) {
  return with_type(type, [&](auto number) {
    using T = decltype(number);
    constexpr int kSize = 16 / sizeof(T);
    bool whole = size % kSize == 0;
    for (const void* at : pointers) whole = whole && reinterpret_cast<uintptr_t>(at) % 16 == 0;
    return whole ? body(number, std::integral_constant<int, kSize>{}) : body(number, std::integral_constant<int, 1>{});
  });
}

inline unsigned blocks_for(int64_t items, int64_t each) { return static_cast<unsigned>((items + each - 1) / each); }

}  // namespace rft::kernels
