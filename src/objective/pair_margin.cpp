#include "objective/pair_margin.h"

#include <ATen/ATen.h>

#include "rft/core/error.h"
#include "rft/core/extra.h"
#include "rft/ops/groups.h"

namespace rft::objective {

Tensor pair_margin(const Experience& batch, const Tensor& like, const char* objective) {
  if (batch.rows() % 2 != 0)
    run_failed(objective, "a batch of pairs has an even number of rows, the chosen ones first; got ", batch.rows());
  if (batch.reward.defined()) {
    auto halves = ops::row_rewards(batch).chunk(2, 0);
    return halves[0].sub(halves[1]).to(like.scalar_type());
  }
  Tensor margin = batch.extra.find(extra::margin);
  if (!margin.defined())
    run_failed(objective, "`reward` is needed (or `margin`): by how much the better answer is better");
  return margin.chunk(2, 0)[0].to(like.scalar_type());
}

}  // namespace rft::objective
