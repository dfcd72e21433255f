#pragma once
#include <cstddef>
#include <string_view>

namespace rft {

/// The 1-based place where the brackets of a JSON text nest deeper than `limit`; 0 where they don't. To be asked before
/// parsing text from outside: nlohmann's parser has no such limit, and its copying and printing recurse.
size_t too_deep_at(std::string_view json, int limit);

}  // namespace rft
