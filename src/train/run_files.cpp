#include "rft/train/run_files.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cmath>
#include <cstring>
#include <nlohmann/json.hpp>

#include "rft/core/error.h"
#include "rft/core/options.h"
#include "rft/io/files.h"

namespace rft {
namespace {

/// The whole lines of `content` up to and including `last_step`.
std::string kept_lines(const std::string& content, int64_t last_step) {
  std::string kept;
  size_t from = 0;
  for (size_t end; (end = content.find('\n', from)) != std::string::npos; from = end + 1) {
    std::string line = content.substr(from, end - from + 1);
    auto json = nlohmann::json::parse(line, nullptr, false);
    if (json.is_object() && json.contains("step") && json["step"].is_number_integer() && json["step"].get<int64_t>() <= last_step) kept += line;
  }
  return kept;
}

}  // namespace

JsonLines::JsonLines(const std::string& file, int64_t last_step) : file_(file) {
  if (file_exists(file)) {
    std::string content = read_text(file, size_t{1} << 40), kept = kept_lines(content, last_step);
    if (kept != content) write_text(file, kept);
  }
  descriptor_ = ::open(file.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0666);
  if (descriptor_ < 0) run_failed(file, "the file can't be opened for writing: ", std::strerror(errno));
}

JsonLines::~JsonLines() {
  if (descriptor_ >= 0) ::close(descriptor_);
}

void JsonLines::append(const std::string& object) {
  std::string line = object + "\n";
  size_t done = 0;
  while (done < line.size()) {
    ssize_t n = ::write(descriptor_, line.data() + done, line.size() - done);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) run_failed(file_, "the file can't be written: ", std::strerror(errno));
    done += static_cast<size_t>(n);
  }
}

std::string metrics_line(int64_t step, const std::string& stage, int64_t stage_step, const std::map<std::string, double>& values) {
  std::string out = cat("{\"step\":", step, ",\"stage\":", nlohmann::json(stage).dump(), ",\"stage_step\":", stage_step);
  for (const auto& [name, value] : values)
    out += "," + nlohmann::json(name).dump() + ":" + (std::isfinite(value) ? number_text(value) : "null");
  return out + "}";
}

}  // namespace rft
