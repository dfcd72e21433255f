#include <algorithm>
#include <cmath>
#include <numbers>

#include "rft/train/optimizer.h"

namespace rft {

double learning_rate(const ScheduleOptions& schedule, double lr, int64_t step, int64_t total) {
  double warmup = schedule.warmup_steps > 0 ? static_cast<double>(schedule.warmup_steps)
                                            : std::ceil(schedule.warmup_ratio * static_cast<double>(total));
  double at = static_cast<double>(step), all = static_cast<double>(total);
  if (at < warmup) return lr * at / std::max(1.0, warmup);
  double done = (at - warmup) / std::max(1.0, all - warmup), share = 1.0;
  if (schedule.type == "linear") share = std::max(0.0, 1.0 - done);
  if (schedule.type == "cosine") share = std::max(0.0, 0.5 * (1.0 + std::cos(std::numbers::pi * done)));
  if (schedule.type == "inverse_sqrt") {
    double scale = warmup > 0 ? warmup : 10000.0, shift = scale - warmup;
    share = 1.0 / std::sqrt((at + shift) / scale);
  }
  return lr * std::max(share, schedule.min_ratio);
}

}  // namespace rft
