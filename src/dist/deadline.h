#pragma once
/// Watches a call that can't be interrupted.
#include <condition_variable>
#include <functional>
#include <mutex>
#include <thread>

namespace rft {

/// Calls `expired`, on a thread of its own and once, where `seconds` pass without renew(); until it is destroyed.
class Deadline {
 public:
  Deadline(double seconds, std::function<void()> expired);
  ~Deadline();
  Deadline(const Deadline&) = delete;
  Deadline& operator=(const Deadline&) = delete;
  void renew();

 private:
  void watch(double seconds);

  std::function<void()> expired_;
  std::mutex mutex_;
  std::condition_variable changed_;
  bool over_ = false;
  int64_t renewals_ = 0;
  std::thread thread_;
};

}  // namespace rft
