#include "rft/objective/reg_grpo.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>

#include "objective/regularizers.h"
#include "rft/core/error.h"
#include "rft/ops/groups.h"

namespace rft {
namespace {

using namespace objective;

/// [B] of a micro-batch.
struct Regressed {
  Tensor log_ratio;  ///< with gradient; arbitrary where a row is not kept
  Tensor advantage;
  Tensor kept;  ///< bool
};

Regressed regressed_rows(const Columns& c, const Experience& batch) {
  Regressed out;
  out.log_ratio = row_sum(c.logp.sub(c.old_logp), c.weight).squeeze(1);
  out.advantage = row_mean(required(c.advantage, "advantage", "reg_grpo"), c.weight).squeeze(1);
  out.kept = c.mask.any(1);
  if (batch.reward.defined()) out.kept = out.kept.logical_and(ops::row_rewards(batch).isnan().logical_not());
  return out;
}

}  // namespace

void RegGrpo::Options::visit(OptionVisitor& v) {
  v.option("eps", eps, "added to the deviation of a group's log-ratios", above(0));
  RegularizerOptions::visit(v);
}

Needs RegGrpo::needs() const {
  Needs needs = options_.needs();
  needs.reward = needs.advantage = needs.whole_batch = true;
  return needs;
}

std::map<int64_t, RegGrpo::Group> RegGrpo::measure(const Evaluation& now, const Experience& batch) const {
  Regressed rows = regressed_rows(read_columns(now, batch, batch.mask), batch);
  Tensor kept = rows.kept.nonzero().squeeze(1);
  std::map<int64_t, Group> out;
  if (kept.numel() == 0) return out;
  auto column = [&](const Tensor& x) { return x.detach().index_select(0, kept).to(at::kDouble); };
  Tensor rho = column(rows.log_ratio), advantage = column(rows.advantage);
  Tensor numbers = batch.group.index_select(0, kept);
  ops::Groups groups(numbers);
  Tensor mean = groups.mean(rho), deviation = groups.deviation(rho);
  Tensor error = rho.sub(mean).div(deviation.add(options_.eps)).sub(advantage);
  Tensor covariance = groups.sum(error.mul(rho.sub(mean))), mean_error = groups.mean(error), size = groups.valid(rho);
  for (int64_t i = 0; i < kept.numel(); ++i) {
    auto at_row = [i](const Tensor& x) { return x[i].item<double>(); };
    out[numbers[i].item<int64_t>()] = {at_row(mean), at_row(deviation), at_row(mean_error), at_row(covariance),
                                       at_row(size)};
  }
  return out;
}

void RegGrpo::observe(const Evaluation& now, const Experience& whole) { observed_ = measure(now, whole); }

Loss RegGrpo::loss(const Evaluation& now, const Experience& batch) const {
  if (!observed_ && batch.totals.rows != static_cast<double>(batch.rows()))
    run_failed("reg_grpo", "the rows of a group are compared, and ", batch.rows(), " of ", batch.totals.rows,
               " rows came without observe()");
  Columns c = read_columns(now, batch, batch.mask);
  Regressed rows = regressed_rows(c, batch);
  std::map<int64_t, Group> whole = observed_ ? *observed_ : measure(now, batch);
  std::vector<double> flat;
  for (int64_t i = 0; i < batch.rows(); ++i) {
    auto found = whole.find(batch.group[i].item<int64_t>());
    Group g = found == whole.end() ? Group{} : found->second;
    double scale = g.deviation + options_.eps;
    // What the group's deviation does to its rows' errors; 0 where all log-ratios are equal.
    double spread = g.deviation > 0 ? g.covariance / (scale * scale * (g.rows - 1) * g.deviation) : 0;
    flat.insert(flat.end(), {g.mean, scale, g.error, spread, g.rows > 1 ? 1.0 : 0.0});
  }
  Tensor known = at::tensor(flat, c.logp.options().dtype(at::kDouble).requires_grad(false)).view({-1, 5});
  auto of_group = [&](int64_t k) { return known.select(1, k).to(c.logp.scalar_type()); };
  Tensor rho = rows.log_ratio.detach(), centred = rho.sub(of_group(0)), predicted = centred.div(of_group(1));
  Tensor error = predicted.sub(rows.advantage);
  // d regression / d rho_i, the group's mean and deviation being functions of rho_i too.
  Tensor slope = error.sub(of_group(2)).div(of_group(1)).sub(centred.mul(of_group(3))).mul(2);
  Tensor taught = rows.kept.logical_and(of_group(4).gt(0));
  Tensor each = error.square().add(slope.mul(rows.log_ratio.sub(rho)));
  each = zero_where_masked(each, taught);
  Loss out;
  out.terms.push_back({"regression", each.sum().div(std::max(batch.totals.rows, 1.0))});
  MetricSums metrics;
  Tensor weight = taught.to(c.weight.scalar_type());
  metrics.tokens("regression", each.detach(), weight);
  metrics.tokens("predicted_advantage", predicted, weight);
  add_regularizers(out, metrics, c, options_, batch.totals.tokens, "reg_grpo");
  metrics.add_to(out.metrics);
  return out;
}

void RegGrpo::stepped(const Metrics& metrics) {
  observed_.reset();
  adapt_kl_weight(options_, metrics);
}
State RegGrpo::state() const { return regularizer_state(options_); }
void RegGrpo::load_state(const State& state) { load_regularizer_state(options_, state); }

}  // namespace rft
