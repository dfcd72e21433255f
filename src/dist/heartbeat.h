#pragma once
/// Each process tells the others that it lives, and ends where one does not.
#include <atomic>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <thread>

#include "dist/deadline.h"
#include "rft/core/tensor.h"

namespace rft {

class Heartbeat {
 public:
  /// A store that all processes share, used from the heartbeat's thread alone.
  struct Store {
    std::function<void(const std::string& key, const std::string& value)> set;
    std::function<std::string(const std::string& key)> get;  ///< "" where there is none
  };

  /// `silence`: seconds after which a process counts as gone, or the store, which `keeper` keeps ("rank 0").
  Heartbeat(Store store, std::string keeper, int64_t rank, int64_t size, double silence);
  /// Where leave() was not called the others are told that this process failed.
  ~Heartbeat();
  Heartbeat(const Heartbeat&) = delete;
  Heartbeat& operator=(const Heartbeat&) = delete;

  void at(const std::string& where);
  /// Takes leave: this process's silence is not an accident any more. The one that keeps the store waits for the
  /// others.
  void leave(bool keeps_store);

 private:
  void run();
  void say(const std::string& state);
  void listen();
  void no_answer();
  [[noreturn]] void give_up(const std::string& reason);

  Store store_;
  std::string keeper_;
  int64_t rank_, size_;
  double silence_;
  std::mutex mutex_;
  std::string where_ = "the start";
  std::atomic<bool> leaving_ = false, left_ = false;
  int64_t beats_ = 0;
  struct Heard {
    std::string said;
    double when = 0;
  };
  std::map<int64_t, Heard> heard_;
  std::unique_ptr<Deadline> answers_;  ///< of the store, while the thread runs
  std::thread thread_;
};

}  // namespace rft
