#pragma once

namespace rft {

/// While it lives, SIGINT and SIGTERM ask the run to stop at the next step's boundary; a second one ends the process at
/// once.
class StopOnSignals {
 public:
  StopOnSignals();
  ~StopOnSignals();
  StopOnSignals(const StopOnSignals&) = delete;
  StopOnSignals& operator=(const StopOnSignals&) = delete;
  static bool requested();
};

}  // namespace rft
