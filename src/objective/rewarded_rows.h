#pragma once
/// Rows that got a reward, of a batch in which some may not have.
#include "objective/columns.h"

namespace rft::objective {

/// Scalar: the mean of x [B] over the rows where `kept` [B] bool is true, times B / rows: the share of these B rows in
/// a whole batch of `rows`. 0 where none is kept. What stands in the other rows reaches neither value nor gradient.
Tensor share_of_mean(const Tensor& x, const Tensor& kept, double rows);

}  // namespace rft::objective
