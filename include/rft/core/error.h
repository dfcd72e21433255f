#pragma once
/// Errors speak to the person who made them: "[where] rule; got value".
#include <sstream>
#include <stdexcept>
#include <string>

namespace rft {

/// The user's input was wrong: config, arguments, data, a model directory. The program ends with exit code 2.
struct UserError : std::runtime_error {
  using std::runtime_error::runtime_error;
};

/// Something failed while running: a full disk, a non-finite loss. The program ends with exit code 1.
struct RunError : std::runtime_error {
  using std::runtime_error::runtime_error;
};

/// A signal asked the run to stop, and a checkpoint has been saved. The program ends with exit code 130.
struct Interrupted : std::runtime_error {
  using std::runtime_error::runtime_error;
};

/// cat("clip_low is ", 3, " of ", 5): its arguments, streamed into one string.
template <class... Args>
std::string cat(const Args&... args) {
  std::ostringstream out;
  (out << ... << args);
  return out.str();
}

/// throws UserError("[where] message"). `where` is a file, file:line:column, an option's path or a function.
template <class... Args>
[[noreturn]] void bad_input(const std::string& where, const Args&... message) {
  throw UserError(cat("[", where, "] ", message...));
}

/// throws RunError("[where] message").
template <class... Args>
[[noreturn]] void run_failed(const std::string& where, const Args&... message) {
  throw RunError(cat("[", where, "] ", message...));
}

}  // namespace rft
