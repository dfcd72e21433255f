#pragma once
/// Files of one JSON object a line, each with its "step".
#include <cstdint>
#include <map>
#include <string>

namespace rft {

/// Appends lines; what is written is flushed at once, so that a killed run loses at most the line it was writing.
class JsonLines {
 public:
  /// Opens `file`, keeping only whole lines whose "step" is at most `last_step` (rewritten atomically where some go).
  /// Throws RunError with the system's reason.
  JsonLines(const std::string& file, int64_t last_step);
  ~JsonLines();
  JsonLines(const JsonLines&) = delete;
  JsonLines& operator=(const JsonLines&) = delete;
  /// Appends one JSON object. Throws RunError where it can't be written (a full disk).
  void append(const std::string& object);

 private:
  std::string file_;
  int descriptor_ = -1;
};

/// {"step":3,"stage":"sft",...}: doubles in the shortest form that reads back bit for bit, null where not finite.
std::string metrics_line(int64_t step, const std::string& stage, int64_t stage_step, const std::map<std::string, double>& values);

}  // namespace rft
