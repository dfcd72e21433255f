#pragma once
/// Rows of a Parquet file, through librft_parquet.so.
#include <functional>
#include <string>
#include <string_view>

namespace rft {

/// Calls each(row as JSON text) in order. Throws UserError naming the file where it can't be read as Parquet, and where
/// the module is not there.
void for_parquet_rows(const std::string& file, const std::function<void(std::string_view)>& each);

}  // namespace rft
