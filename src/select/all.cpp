#include "rft/select/all.h"

#include <ATen/ATen.h>

#include "rft/core/extra.h"

namespace rft {

Tensor SelectAll::select(const Experience& batch, Metrics&) {
  return at::arange(batch.rows(), at::TensorOptions().dtype(at::kLong));
}

Tensor OwnAnswers::select(const Experience& batch, Metrics&) {
  Tensor given = batch.extra.find(extra::given);
  if (!given.defined()) return at::arange(batch.rows(), at::TensorOptions().dtype(at::kLong));
  return given.logical_not().nonzero().squeeze(1);
}

}  // namespace rft
