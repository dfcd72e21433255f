#include "dist/deadline.h"

#include <chrono>
#include <utility>

namespace rft {

Deadline::Deadline(double seconds, std::function<void()> expired) : expired_(std::move(expired)) {
  thread_ = std::thread([this, seconds] { watch(seconds); });
}

Deadline::~Deadline() {
  {
    std::lock_guard lock(mutex_);
    over_ = true;
  }
  changed_.notify_one();
  thread_.join();
}

void Deadline::renew() {
  {
    std::lock_guard lock(mutex_);
    ++renewals_;
  }
  changed_.notify_one();
}

void Deadline::watch(double seconds) {
  std::unique_lock lock(mutex_);
  while (!over_) {
    int64_t seen = renewals_;
    if (changed_.wait_for(lock, std::chrono::duration<double>(seconds), [&] { return over_ || renewals_ != seen; }))
      continue;
    lock.unlock();
    return expired_();
  }
}

}  // namespace rft
