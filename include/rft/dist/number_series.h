#pragma once
/// Numbers that processes hand out among themselves.
#include <cstdint>
#include <string>

namespace rft {

/// Beside Communicator, for groups that can do it: who comes first gets the next number, and nobody waits for anybody.
class NumberSeries {
 public:
  virtual ~NumberSeries() = default;
  /// The name of a new series. All processes of the group call it, in the same order among their calls.
  std::string new_series() { return std::to_string(series_++); }
  /// 0, 1, 2, ... of a series, each given to one process alone. From any thread. Throws RunError where another process
  /// that is needed for it is gone.
  virtual int64_t next_number(const std::string& series) = 0;

 private:
  int64_t series_ = 0;
};

}  // namespace rft
