#include "rft/train/adaptive_rate.h"

#include <ATen/ATen.h>

#include <algorithm>

#include "rft/core/error.h"

namespace rft {
namespace {

constexpr double kRateFactor = 1.5, kRateMargin = 2;
const char* const kMetric = "approx_kl";
const char* const kWhere = "train.schedule";

}  // namespace

AdaptiveRate::AdaptiveRate(const ScheduleOptions& schedule, double lr) : schedule_(schedule), rate_(lr) {
  if (schedule.warmup_steps > 0 || schedule.warmup_ratio > 0 || schedule.min_ratio > 0)
    bad_input(kWhere,
              "an adaptive learning rate has no warmup_steps, warmup_ratio or min_ratio: its bounds are min_lr ",
              "and max_lr");
  if (lr < schedule.min_lr || lr > schedule.max_lr)
    bad_input(kWhere, "train.optimizer.lr must lie between min_lr, ", schedule.min_lr, ", and max_lr, ",
              schedule.max_lr, "; got ", lr);
}

double AdaptiveRate::next(const Metrics& found) {
  if (!found.has(kMetric))
    bad_input(kWhere, "an adaptive learning rate reads the metric ", kMetric,
              ", which this objective does not have: use ppo or grpo, or another type");
  double kl = found.mean(kMetric);
  if (kl > kRateMargin * schedule_.desired_kl) rate_ = std::max(rate_ / kRateFactor, schedule_.min_lr);
  if (kl < schedule_.desired_kl / kRateMargin) rate_ = std::min(rate_ * kRateFactor, schedule_.max_lr);
  return rate_;
}

State AdaptiveRate::state() const { return {{"rate", at::scalar_tensor(rate_, at::kDouble)}}; }

void AdaptiveRate::load_state(const State& state) {
  auto found = state.find("rate");
  if (found == state.end()) bad_input("checkpoint", "it holds no `rate`, which schedule.type: adaptive goes on from");
  rate_ = found->second.item<double>();
}

}  // namespace rft
