#pragma once
/// What all tests share: fixtures, temporary directories, the program.
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <functional>
#include <random>
#include <sstream>
#include <string>

#include "rft/core/error.h"

namespace rft::testing {

inline std::string fixture(const std::string& path) { return std::string(RFT_TESTS_DIR) + "/" + path; }

inline std::string read_file(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  if (!in) throw std::runtime_error("can't read " + path);
  std::ostringstream out;
  out << in.rdbuf();
  return out.str();
}

inline void write_file(const std::string& path, const std::string& content) {
  std::ofstream out(path, std::ios::binary);
  out << content;
  if (!out) throw std::runtime_error("can't write " + path);
}

/// A directory that is removed with its object.
class TempDir {
 public:
  TempDir() {
    auto pattern = (std::filesystem::temp_directory_path() / "rft-test-XXXXXX").string();
    if (!mkdtemp(pattern.data())) throw std::runtime_error("mkdtemp failed");
    path_ = pattern;
  }
  ~TempDir() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  TempDir(const TempDir&) = delete;
  TempDir& operator=(const TempDir&) = delete;
  std::string operator/(const std::string& name) const { return path_ + "/" + name; }
  const std::string& path() const { return path_; }

 private:
  std::string path_;
};

struct Ran {
  int code;         ///< exit code, or 128 + signal
  std::string out;  ///< stdout
  std::string err;  ///< stderr
};

/// Runs a shell command and keeps what it prints.
inline Ran run(const std::string& command) {
  TempDir dir;
  int status = std::system(("(" + command + ") >" + dir / "out" + " 2>" + dir / "err" + " </dev/null").c_str());
  int code = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
  return {code, read_file(dir / "out"), read_file(dir / "err")};
}

/// Runs the rft program.
inline Ran rft(const std::string& arguments) { return run(std::string(RFT_PROGRAM) + " " + arguments); }

/// The message of the E that `body` throws; fails the test where it throws nothing or something else.
template <class E = UserError>
std::string message_of(const std::function<void()>& body) {
  try {
    body();
  } catch (const E& error) {
    return error.what();
  }
  ADD_FAILURE() << "nothing was thrown";
  return "";
}

}  // namespace rft::testing
