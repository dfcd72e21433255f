#pragma once
/// TensorBoard event files, written without TensorBoard: records of length, masked CRC-32C and a protobuf Event.
#include <cstdint>
#include <string>
#include <string_view>

#include "rft/train/run_files.h"

namespace rft {

/// Adds to a directory what TensorBoard shows: curves and texts. Every writer opens a file of its own; TensorBoard
/// merges those of one directory. Throws RunError naming the file where it can't be written.
class TensorBoardWriter {
 public:
  explicit TensorBoardWriter(const std::string& directory);
  ~TensorBoardWriter();

  /// `value` is kept in single precision.
  void scalar(const std::string& tag, int64_t step, double value);
  /// Shown as Markdown.
  void text(const std::string& tag, int64_t step, const std::string& text);
  /// Hands what was added to the system. Nothing is written before; the destructor flushes and swallows a failure.
  void flush();
  const std::string& file() const { return file_.file(); }

 private:
  void add(const std::string& event);

  AppendedFile file_;
  std::string waiting_;
};

/// Rewrites the event files of `directory` to the events with step <= `last_step`, each atomically; what follows a
/// broken record (a killed run's last) goes too. A resumed run calls it before it opens a writer.
void keep_events(const std::string& directory, int64_t last_step);

/// CRC-32C (Castagnoli), as in RFC 3720.
uint32_t crc32c(std::string_view bytes);

}  // namespace rft
