#include "rft/credit/reward_to_go.h"

#include <ATen/ATen.h>

#include <limits>

#include "credit/rewards.h"

namespace rft {
namespace {

using namespace credit;

/// [B, T]: from each decision to the row's last, discounted by decisions; at masked columns what was carried over them.
Tensor discounted(const Tensor& reward, const Tensor& mask, double gamma) {
  Tensor out = at::zeros_like(reward);
  auto r = reward.accessor<double, 2>(), to_go = out.accessor<double, 2>();
  auto decided = mask.accessor<bool, 2>();
  for (int64_t i = 0; i < mask.size(0); ++i) {
    double sum = 0;
    for (int64_t t = mask.size(1) - 1; t >= 0; --t) {
      if (decided[i][t]) sum = r[i][t] + gamma * sum;
      to_go[i][t] = sum;
    }
  }
  return out;
}

/// The rewards weighed by how bad each is among its row's.
Tensor min_form(const Tensor& reward, double temperature) {
  constexpr double kNone = -std::numeric_limits<double>::infinity();
  Tensor given = reward.ne(0);
  Tensor logit = at::where(given, reward.div(-temperature), at::full({}, kNone, reward.options()));
  return reward.mul(logit.softmax(1).nan_to_num(0.0));
}

}  // namespace

void RewardToGo::Options::visit(OptionVisitor& v) {
  v.option("gamma", gamma, "discount of a reward one decision later", between(0, 1));
  v.option("baseline", baseline, "what is taken off: nothing, or the mean of the group's rewards",
           one_of({"none", "group"}));
  v.option("form", form, "how several rewards of a row count: their sum, or about their least", one_of({"sum", "min"}));
  v.option("temperature", temperature, "form min: how nearly the least alone counts, in units of the reward", above(0));
  v.option("whiten", whiten, "advantages of mean 0 and deviation 1 over the batch's decisions");
  RewardOptions::visit(v);
}

RewardToGo::RewardToGo(Options options) : options_(std::move(options)) { options_.check(); }

Needs RewardToGo::needs() const { return options_.needs(); }

void RewardToGo::assign(Experience& batch, Metrics& metrics) {
  Tensor total = ops::row_rewards(batch);
  Tensor kept = total.isnan().logical_not().unsqueeze(1).logical_and(batch.mask);
  Tensor reward = zero_unless(kept, step_rewards(batch, options_.reward_clip));
  if (options_.form == "min") reward = min_form(reward, options_.temperature);
  ops::Groups groups(batch.group);
  Tensor advantage = discounted(reward, batch.mask, options_.gamma);
  if (options_.baseline == "group")
    advantage = advantage.sub(groups.mean(at::where(total.isnan(), total, reward.sum(1))).unsqueeze(1));
  if (options_.kl_weight != 0)
    advantage =
        advantage.sub(discounted(zero_unless(kept, token_kl(batch, options_, metrics)), batch.mask, options_.gamma),
                      options_.kl_weight);
  advantage = zero_unless(kept, advantage);
  if (options_.whiten) advantage = zero_unless(kept, whitened(advantage, kept, /*keep_mean=*/false));
  finish(batch, metrics, groups, advantage, groups.deviation(total));
}

}  // namespace rft
