#pragma once
#include <chrono>

namespace rft {

/// A stopwatch on the monotonic clock.
class Clock {
 public:
  /// Seconds since construction or the last lap().
  double seconds() const { return std::chrono::duration<double>(std::chrono::steady_clock::now() - start_).count(); }
  /// seconds(), and starts anew.
  double lap() {
    double passed = seconds();
    start_ = std::chrono::steady_clock::now();
    return passed;
  }

 private:
  std::chrono::steady_clock::time_point start_ = std::chrono::steady_clock::now();
};

}  // namespace rft
