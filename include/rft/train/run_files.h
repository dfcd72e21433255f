#pragma once
/// The files of a run that grow: each record reaches the system whole before the call returns.
#include <cstdint>
#include <map>
#include <string>
#include <string_view>

namespace rft {

/// A file that is only added to. Throws RunError naming the file and the system's reason (a full disk) where it fails.
class AppendedFile {
 public:
  enum class Open { new_file, append };

  /// new_file: there must be none of that name yet.
  AppendedFile(std::string file, Open mode);
  ~AppendedFile();
  AppendedFile(const AppendedFile&) = delete;
  AppendedFile& operator=(const AppendedFile&) = delete;

  void append(std::string_view bytes);
  const std::string& file() const { return file_; }

 private:
  std::string file_;
  int fd_ = -1;
};

/// JSON objects, one a line.
class JsonLines {
 public:
  /// Opens `file`, or makes it; rows there whose "step" is above `last_step` are dropped first, see keep_json_lines.
  JsonLines(const std::string& file, int64_t last_step);
  /// `object` is JSON text without line breaks.
  void append(const std::string& object) { file_.append(object + "\n"); }

 private:
  AppendedFile file_;
};

/// Rewrites `file` to its rows with "step" <= `last_step`, atomically; a half-written last line goes too. Nothing
/// happens where there is no file, or nothing to drop. Throws UserError with file:line where another line is no JSON
/// object with a whole "step".
void keep_json_lines(const std::string& file, int64_t last_step);

/// {"step":3,"stage":"sft","stage_step":3,...}: names in order, doubles in the shortest form that reads back bit for
/// bit, null where not finite.
std::string metrics_line(int64_t step, const std::string& stage, int64_t stage_step,
                         const std::map<std::string, double>& values);

}  // namespace rft
