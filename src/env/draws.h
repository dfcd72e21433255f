#pragma once
/// Random numbers one after another, for the start of an episode.
#include <cmath>
#include <cstdint>
#include <numbers>

#include "rft/core/rng.h"

namespace rft {

class Draws {
 public:
  explicit Draws(uint64_t seed) : rng_(seed) {}
  /// In [low, high).
  double uniform(double low, double high) { return low + (high - low) * rng_.uniform(next_++); }
  /// 0 .. n - 1.
  int64_t below(int64_t n) { return static_cast<int64_t>(rng_.below(next_++, static_cast<uint64_t>(n))); }
  /// Standard normal (Box-Muller).
  double normal() {
    double u = 1 - rng_.uniform(next_++), angle = 2 * std::numbers::pi * rng_.uniform(next_++);
    return std::sqrt(-2 * std::log(u)) * std::cos(angle);
  }

 private:
  Rng rng_;
  uint64_t next_ = 0;
};

}  // namespace rft
