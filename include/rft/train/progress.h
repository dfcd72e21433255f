#pragma once
/// One line on stderr that says how far something is: a bar on a terminal, now and then a plain line elsewhere.
#include <cstdint>
#include <functional>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

namespace rft {

/// What is shown beside the bar, in order: {"reward", 0.53}, {"tokens/s", 1234}.
using ProgressValues = std::vector<std::pair<std::string, double>>;

/// Where progress goes. Tests give their own.
struct ProgressOutput {
  bool terminal = false;
  std::function<int()> width;                     ///< columns of the terminal
  std::function<double()> seconds;                ///< a clock that never goes back
  std::function<void(const std::string&)> write;  ///< empty: nothing is shown
};

/// stderr; nothing where `quiet`.
ProgressOutput standard_progress_output(bool quiet);

/// Where a piece of work stands; what a line of progress is made of.
struct ProgressState {
  std::string name, stage;
  std::string unit = "steps";
  int64_t done = 0, total = 0;  ///< total 0: unknown
  double elapsed = 0;           ///< seconds
  double left = -1;             ///< seconds; negative: unknown
  ProgressValues values;
};

/// "grpo [=====>    ] 45/200 02:13<07:40 reward 0.531", at most `width` columns: values that don't fit are left out,
/// from the last, then the bar shrinks, then the name is cut, then the rest.
std::string progress_bar_line(const ProgressState& state, int width);
/// "grpo: 45/200 steps, 2:13 elapsed, 7:40 left, reward 0.531"
std::string progress_plain_line(const ProgressState& state);

/// Any thread may call it. While one lives, log messages (rft/core/log.h) clear its line first; one shows at a time.
class Progress {
 public:
  Progress(std::string name, bool quiet) : Progress(std::move(name), standard_progress_output(quiet)) {}
  Progress(std::string name, ProgressOutput output);
  ~Progress();
  Progress(const Progress&) = delete;
  Progress& operator=(const Progress&) = delete;

  /// Starts a line for `total` units (0: unknown), `done` of which were done earlier. `stage` may be empty.
  void begin(const std::string& stage, int64_t done, int64_t total, const std::string& unit = "steps");
  /// Shown at most ten times a second on a terminal and every five seconds elsewhere; always where done = total.
  void update(int64_t done, const ProgressValues& values = {});
  /// Takes the line away for other output; the next update draws it again.
  void clear();
  /// Shows where things stand and ends the line. Also called by begin() and the destructor.
  void finish();

 private:
  void show(bool last);
  void clear_line();

  std::mutex mutex_;
  ProgressOutput output_;
  ProgressState state_;
  int64_t started_at_ = 0;  ///< units done when the clock started
  double began_ = 0, shown_ = 0;
  bool active_ = false, drawn_ = false, pending_ = false;
};

}  // namespace rft
