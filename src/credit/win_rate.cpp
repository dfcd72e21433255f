#include "rft/credit/win_rate.h"

#include <ATen/ATen.h>

#include <cmath>
#include <vector>

#include "credit/rewards.h"
#include "rft/core/error.h"
#include "rft/core/extra.h"

namespace rft {
namespace {

using namespace credit;

/// [B, B]: the probability that row i beats row j.
Tensor beats(const Tensor& reward, double temperature) {
  Tensor difference = reward.unsqueeze(1).sub(reward.unsqueeze(0));
  return temperature > 0 ? difference.div(temperature).sigmoid() : difference.sign().add(1).div(2);
}

/// [B] bool: of each group the first row whose reward is not NaN.
Tensor first_of_each(const Tensor& reward, const ops::Groups& groups) {
  Tensor values = reward.contiguous(), index = groups.index().contiguous();
  Tensor first = at::zeros(reward.sizes(), at::kBool);
  std::vector<bool> seen(static_cast<size_t>(groups.count()), false);
  const double* r = values.const_data_ptr<double>();
  const auto* group = index.const_data_ptr<int64_t>();
  for (int64_t i = 0; i < reward.numel(); ++i) {
    auto g = static_cast<size_t>(group[i]);
    if (seen[g] || std::isnan(r[i])) continue;
    seen[g] = true, first.data_ptr<bool>()[i] = true;
  }
  return first;
}

}  // namespace

void WinRate::Options::visit(OptionVisitor& v) {
  v.option("against", against,
           "whom an answer is compared with: the group's others, those that the policy did not make, or one of them",
           one_of({"others", "given", "one"}));
  v.option("temperature", temperature, "difference of rewards that wins with 73 %; 0: the better one always wins",
           at_least(0));
  RewardOptions::visit(v);
}

WinRate::WinRate(Options options) : options_(std::move(options)) { options_.check(); }

Needs WinRate::needs() const { return options_.needs(); }

/// [B, B] bool: whether j is an opponent of i.
Tensor WinRate::opponents(const Experience& batch, const Tensor& reward, const ops::Groups& groups) const {
  Tensor valid = reward.isnan().logical_not(), together = groups.index().unsqueeze(1).eq(groups.index().unsqueeze(0));
  Tensor pairs = together.logical_and(valid.unsqueeze(1)).logical_and(valid.unsqueeze(0));
  if (options_.against == "others") return pairs.logical_and(at::eye(batch.rows(), at::kBool).logical_not());
  Tensor stands = options_.against == "one" ? first_of_each(reward, groups) : batch.extra.find(extra::given);
  if (!stands.defined())
    run_failed("win_rate", "against: given needs answers that the policy did not make: rollout.reference_answers");
  return pairs.logical_and(stands.unsqueeze(0)).logical_and(stands.logical_not().unsqueeze(1));
}

void WinRate::assign(Experience& batch, Metrics& metrics) {
  ops::Groups groups(batch.group);
  Tensor reward = penalised(ops::row_rewards(batch), batch, options_, metrics);
  Tensor against = opponents(batch, reward, groups), count = against.sum(1).to(at::kDouble);
  Tensor won = at::where(against, beats(reward, options_.temperature), at::zeros({}, at::kDouble)).sum(1);
  Tensor advantage = zero_unless(count.gt(0), won.div(count.clamp_min(1)).sub(0.5));
  double compared = count.gt(0).sum().item<double>();
  if (compared > 0) metrics.add("win_rate", advantage.sum().item<double>() / compared + 0.5, compared);
  finish(batch, metrics, groups, advantage, groups.deviation(reward));
}

}  // namespace rft
