#pragma once
/// Freed memory, back to the system.
#include <malloc.h>

namespace rft {

/// The allocator keeps what is freed in pieces of less than 32 MB, and large tensors do not fit there: to be called
/// once where many weights went.
inline void give_back_memory() {
#ifdef __GLIBC__
  malloc_trim(0);
#endif
}

}  // namespace rft
