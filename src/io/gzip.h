#pragma once
#include <string>

namespace rft {

/// The content of a gzip file that is `packed` (any number of members). Throws UserError naming `file` where it is
/// damaged or cut short, or holds more than `limit` bytes.
std::string gunzip(const std::string& packed, const std::string& file, size_t limit);

}  // namespace rft
