#include "reward/picture_target.h"

#include <ATen/ATen.h>

#include "rft/core/error.h"

namespace rft {

void PictureTarget::visit(OptionVisitor& v) {
  v.option("colour", colour, "[red, green, blue], each in [0, 1]", between(0, 1));
  v.option("column", column, "the dataset's column with PNG files, in the colour's place");
  directory_option(v, directory);
}

void PictureTarget::check(const std::string& where) const {
  if (colour.empty() == column.empty())
    bad_input(where, "one of the options 'colour' and 'column' is needed; ", colour.empty() ? "none is" : "both are",
              " given");
  if (!colour.empty() && colour.size() != 3)
    bad_input(where + ".colour", "must be [red, green, blue]; got ", colour.size(), " numbers");
  for (double part : colour)
    if (!(part >= 0 && part <= 1)) bad_input(where + ".colour", "must be numbers in [0, 1]; got ", part);
}

Tensor target_of(const PictureTarget& target, const Experience& batch, const Tensor& like, bool same_size,
                 std::vector<std::string>& errors) {
  if (target.column.empty()) return at::tensor(target.colour, like.options().requires_grad(false)).view({1, 3, 1, 1});
  RowImages rows = column_images(batch, target.column, target.directory);
  if (!same_size)
    for (Tensor& image : rows.images)
      if (image.defined()) image = image.mean({1, 2}, true);
  Tensor out =
      same_size ? stacked(rows, like.size(2), like.size(3), target.column) : stacked(rows, 1, 1, target.column);
  errors = std::move(rows.errors);
  return out.to(like.options().requires_grad(false));
}

}  // namespace rft
