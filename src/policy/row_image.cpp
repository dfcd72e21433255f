#include "policy/row_image.h"

#include <ATen/ATen.h>

#include <filesystem>

#include "rft/core/error.h"
#include "rft/io/image.h"

namespace rft {

Tensor row_image(const Rows& rows, int64_t i, const std::string& column) {
  std::filesystem::path path = rows.string(i, column);
  if (path.is_relative()) path = std::filesystem::path(rows.file()).parent_path() / path;
  try {
    return read_png(path.string());
  } catch (const UserError& error) {
    bad_input(rows.where(i), "`", column, "`: ", error.what());
  }
}

Tensor sized_row_image(const Rows& rows, int64_t i, const std::string& column, int64_t height, int64_t width,
                       const char* as) {
  Tensor image = row_image(rows, i, column);
  if (image.size(1) != height || image.size(2) != width)
    bad_input(rows.where(i), "`", column, "` must be ", width, " x ", height, " pixels, ", as, "; ",
              rows.string(i, column), " is ", image.size(2), " x ", image.size(1));
  return image;
}

}  // namespace rft
