#include "rft/train/run_files.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <system_error>

#include "rft/core/error.h"
#include "rft/io/files.h"

namespace rft {
namespace {

constexpr size_t kMaxFileBytes = size_t{64} << 30;

int64_t step_of(std::string_view line, const std::string& where) {
  auto row = nlohmann::json::parse(line, nullptr, /*allow_exceptions=*/false);
  if (!row.is_object() || !row.contains("step") || !row["step"].is_number_integer())
    bad_input(where, "a run that is resumed has one JSON object with a whole \"step\" in each line; got ",
              line.substr(0, 80));
  return row["step"].get<int64_t>();
}

}  // namespace

AppendedFile::AppendedFile(std::string file, Open mode) : file_(std::move(file)) {
  int how = O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | (mode == Open::new_file ? O_EXCL : 0);
  fd_ = ::open(file_.c_str(), how, 0666);
  if (fd_ < 0) run_failed(file_, "the file can't be opened for writing: ", std::strerror(errno));
}

AppendedFile::~AppendedFile() { ::close(fd_); }

void AppendedFile::append(std::string_view bytes) {
  while (!bytes.empty()) {
    ssize_t n = ::write(fd_, bytes.data(), bytes.size());
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) run_failed(file_, "the file can't be written: ", std::strerror(errno));
    bytes.remove_prefix(static_cast<size_t>(n));
  }
}

void keep_json_lines(const std::string& file, int64_t last_step) {
  std::error_code ignored;
  if (!std::filesystem::is_regular_file(file, ignored)) return;  // none yet, or a pipe
  std::string content = read_text(file, kMaxFileBytes), kept;
  int64_t number = 1;
  for (size_t begin = 0; begin < content.size(); ++number) {
    size_t end = content.find('\n', begin);
    if (end == std::string::npos) break;  // the run was killed while it wrote this line
    std::string_view line(content.data() + begin, end - begin);
    if (step_of(line, cat(file, ":", number)) <= last_step) kept.append(line).append("\n");
    begin = end + 1;
  }
  if (kept.size() != content.size()) write_text(file, kept);
}

JsonLines::JsonLines(const std::string& file, int64_t last_step)
    : file_((keep_json_lines(file, last_step), file), AppendedFile::Open::append) {}

std::string metrics_line(int64_t step, const std::string& stage, int64_t stage_step,
                         const std::map<std::string, double>& values) {
  auto json = [](const auto& value) {
    return nlohmann::json(value).dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
  };
  std::string out = cat("{\"step\":", step, ",\"stage\":", json(stage), ",\"stage_step\":", stage_step);
  for (const auto& [name, value] : values) out += "," + json(name) + ":" + json(value);
  return out + "}";
}

}  // namespace rft
