#include "rft/core/registry.h"

/// The one file that names every implementation.

namespace rft {

void register_builtins() {}

}  // namespace rft
