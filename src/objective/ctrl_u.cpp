#include "rft/objective/ctrl_u.h"

#include <ATen/ATen.h>

#include <algorithm>

#include "objective/rewarded_rows.h"
#include "rft/core/error.h"
#include "rft/core/extra.h"

namespace rft {
namespace {

using namespace objective;

/// [B] int64: the other row of each row's group.
Tensor partners(const Tensor& group) {
  auto [numbers, order] = group.sort(0);
  int64_t rows = group.size(0);
  bool pairs = rows % 2 == 0;
  if (pairs) {
    Tensor two = numbers.view({-1, 2});
    Tensor first = two.select(1, 0);
    pairs = first.equal(two.select(1, 1)) && at::diff(first).ne(0).all().item<bool>();
  }
  if (!pairs) run_failed("ctrl_u", "every group must have two rows of the batch, two noises of one image");
  Tensor sorted_partners = order.view({-1, 2}).flip({1}).flatten();
  return at::empty_like(order).index_copy_(0, order, sorted_partners);
}

/// [B]: how much the reward is doubted; NaN where that can't be told.
Tensor doubt(const Evaluation& now, const Experience& batch, double scale) {
  Tensor given = now.extra.find(extra::uncertainty);
  if (given.defined()) return given;
  Tensor other = now.reward.index_select(0, partners(required(batch.group, "group", "ctrl_u")));
  return now.reward.sub(other).abs().mul(scale);
}

}  // namespace

void CtrlU::Options::visit(OptionVisitor& v) {
  v.option("uncertainty", uncertainty, "weigh rewards by how much they are doubted; false: ControlNet++");
  v.option("uncertainty_scale", uncertainty_scale, "doubt per difference of the rewards of two noises of an image",
           at_least(0));
  v.option("uncertainty_weight", uncertainty_weight,
           "weight of the doubt itself, which keeps it from growing, beside the doubted reward", at_least(0));
  v.option("uncertainty_gradient", uncertainty_gradient,
           "false: the doubt weighs rewards and is not learned from itself; for rewards that are negative");
  v.option("reward_weight", reward_weight, "weight of the reward's loss", at_least(0));
  v.option("ramp_steps", ramp_steps, "the reward's weight rises from 0 over this many steps; 0: at once",
           at_least(0).in("steps"));
  v.option("pretrain_weight", pretrain_weight, "weight of the denoising error", at_least(0));
  v.option("max_level", max_level, "rows noised beyond this share of the noise levels get no reward", between(0, 1));
}

Needs CtrlU::needs() const {
  Pathwise path;
  path.path = Pathwise::Path::noised_data;
  path.max_level = options_.max_level;
  Needs needs;
  needs.data = Needs::Data::demonstrations;
  needs.pathwise = path;
  needs.group_size = options_.uncertainty ? 2 : 0;
  return needs;
}

Loss CtrlU::loss(const Evaluation& now, const Experience& batch) const {
  const Tensor& reward = required(now.reward, "reward", "ctrl_u");
  Tensor kept = reward.isfinite();
  Tensor each = zero_where_masked(reward, kept).neg();
  MetricSums metrics;
  if (options_.uncertainty) {
    Tensor u = doubt(now, batch, options_.uncertainty_scale);
    kept = kept.logical_and(u.isfinite());
    u = zero_where_masked(u, kept);
    if (!options_.uncertainty_gradient) u = u.detach();
    each = each.mul(u.neg().exp()).add(u, options_.uncertainty_weight);
    metrics.tokens("uncertainty", u, kept.to(u.scalar_type()));
  }
  metrics.tokens("reward_loss", each, kept.to(each.scalar_type()));
  double ramp = options_.ramp_steps == 0 ? 1 : std::min(1.0, static_cast<double>(steps_) / options_.ramp_steps);
  Loss out;
  out.terms.push_back({"reward_loss", share_of_mean(each, kept, batch.totals.rows).mul(options_.reward_weight * ramp)});
  if (options_.pretrain_weight != 0) {
    Tensor logp = zero_where_masked(required(now.logp, "logp", "ctrl_u"), batch.mask);
    double scale = options_.pretrain_weight / std::max(batch.totals.tokens, 1.0);
    out.terms.push_back({"pretrain_loss", logp.sum().mul(-scale)});
    metrics.tokens("pretrain_loss", logp.neg(), batch.mask.to(logp.scalar_type()));
  }
  metrics.add_to(out.metrics);
  return out;
}

void CtrlU::stepped(const Metrics&) { ++steps_; }
State CtrlU::state() const { return {{"steps", at::scalar_tensor(steps_, at::kLong)}}; }
void CtrlU::load_state(const State& state) {
  auto found = state.find("steps");
  if (found == state.end()) bad_input("objective state", "`steps` is needed for ctrl_u; got none");
  steps_ = found->second.item<int64_t>();
}

}  // namespace rft
