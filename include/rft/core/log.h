#pragma once
/// Logging to stderr. A facade: spdlog and LibTorch's headers can't share a file, so only log.cpp sees spdlog.
#include <functional>
#include <string>

namespace rft::log {

void debug(const std::string& message);
void info(const std::string& message);
void warn(const std::string& message);
void error(const std::string& message);

/// level: trace, debug, info, warn, error, off. Throws UserError on another name.
void set_level(const std::string& level);

/// `clear` is called before each message that is shown, so that a progress line can step aside; {} ends that. It must
/// not log.
void set_before_message(std::function<void()> clear);

}  // namespace rft::log
