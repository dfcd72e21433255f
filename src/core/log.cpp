#include "rft/core/log.h"

#include <spdlog/sinks/stdout_color_sinks.h>
#include <spdlog/spdlog.h>

#include <mutex>

#include "rft/core/error.h"

namespace rft::log {
namespace {

spdlog::logger& logger() {
  static auto instance = [] {
    auto made = spdlog::stderr_color_mt("rft");
    made->set_pattern("%^%l%$: %v");
    return made;
  }();
  return *instance;
}

std::mutex hook_mutex;
std::function<void()> before_message;

void write(spdlog::level::level_enum level, const std::string& message) {
  if (!logger().should_log(level)) return;
  std::lock_guard lock(hook_mutex);
  if (before_message) before_message();
  logger().log(level, "{}", message);
}

}  // namespace

void debug(const std::string& message) { write(spdlog::level::debug, message); }
void info(const std::string& message) { write(spdlog::level::info, message); }
void warn(const std::string& message) { write(spdlog::level::warn, message); }
void error(const std::string& message) { write(spdlog::level::err, message); }

void set_before_message(std::function<void()> clear) {
  std::lock_guard lock(hook_mutex);
  before_message = std::move(clear);
}

void set_level(const std::string& level) {
  for (const char* known : {"trace", "debug", "info", "warn", "error", "off"}) {
    if (level == known) {
      logger().set_level(spdlog::level::from_str(level));
      return;
    }
  }
  bad_input("--log-level", "must be one of trace, debug, info, warn, error, off; got '", level, "'");
}

}  // namespace rft::log
