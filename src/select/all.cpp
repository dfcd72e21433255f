#include "rft/select/all.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>

#include "rft/core/error.h"
#include "rft/core/extra.h"
#include "rft/ops/groups.h"

namespace rft {

Tensor SelectAll::select(const Experience& batch, Metrics&) {
  return at::arange(batch.rows(), at::TensorOptions().dtype(at::kLong));
}

void OwnAnswers::Options::visit(OptionVisitor& v) {
  v.option("given_below", given_below,
           "keep the answers of others where the mean reward of the context's own answers is below this; unset: never");
  v.option("instead", instead, "... and there drop the own answers");
}

OwnAnswers::OwnAnswers(Options options) : options_(options) {
  if (options_.instead && !options_.given_below)
    bad_input("select", "own_answers: `instead` needs `given_below`, which says where; got none");
}

Needs OwnAnswers::needs() const {
  Needs needs;
  needs.reward = options_.given_below.has_value();
  return needs;
}

Tensor OwnAnswers::select(const Experience& batch, Metrics& metrics) {
  Tensor given = batch.extra.find(extra::given);
  if (!given.defined()) return at::arange(batch.rows(), at::TensorOptions().dtype(at::kLong));
  Tensor own = given.logical_not();
  if (!options_.given_below) return own.nonzero().squeeze(1);
  ops::Groups groups(batch.group);
  Tensor reward = ops::row_rewards(batch).masked_fill(given, std::nan(""));
  Tensor imitated = groups.mean(reward).nan_to_num(0.0).lt(*options_.given_below);
  Tensor share = imitated.to(at::kDouble).div(groups.size()).sum().div(std::max<int64_t>(groups.count(), 1));
  metrics.add("select/imitated", share.item<double>(), static_cast<double>(groups.count()));
  Tensor kept = options_.instead ? at::where(imitated, given, own) : own.logical_or(imitated);
  return kept.nonzero().squeeze(1);
}

}  // namespace rft
