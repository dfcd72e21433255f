#include "rollout/scoring_thread.h"

#include <ATen/Parallel.h>
#include <ATen/core/grad_mode.h>

#include "rft/core/clock.h"
#include "rft/rollout/reward_columns.h"

namespace rft {

ScoringThread::ScoringThread(RewardModel& model) : model_(model), thread_([this] { run(); }) {}

ScoringThread::~ScoringThread() {
  if (!thread_.joinable()) return;
  {
    const std::lock_guard lock(mutex_);
    waiting_.clear();
  }
  stop();
}

void ScoringThread::stop() {
  {
    const std::lock_guard lock(mutex_);
    complete_ = true;
  }
  changed_.notify_all();
  thread_.join();
}

void ScoringThread::add(int64_t first, Experience rows) {
  {
    const std::lock_guard lock(mutex_);
    if (failed_) return;  // of no use any more
    waiting_.emplace_back(first, std::move(rows));
  }
  changed_.notify_all();
}

double ScoringThread::seconds() {
  const std::lock_guard lock(mutex_);
  return seconds_;
}

std::vector<Experience> ScoringThread::finish() {
  stop();
  if (failed_) std::rethrow_exception(failed_);
  std::vector<Experience> out;
  for (auto& [first, rows] : scored_) out.push_back(std::move(rows));
  return out;
}

void ScoringThread::run() {
  at::init_num_threads();  // as many as the thread that samples has: results depend on it
  const at::NoGradGuard no_grad;
  std::unique_lock lock(mutex_);
  for (;;) {
    changed_.wait(lock, [this] { return complete_ || !waiting_.empty(); });
    if (waiting_.empty()) return;
    auto [first, rows] = std::move(waiting_.front());
    waiting_.pop_front();
    lock.unlock();
    Clock clock;
    std::exception_ptr failed;
    try {
      add_reward_columns(rows, model_.score(rows));
    } catch (...) {
      failed = std::current_exception();
    }
    lock.lock();
    seconds_ += clock.seconds();
    scored_.emplace(first, std::move(rows));
    if (!failed) continue;
    failed_ = failed;
    waiting_.clear();
  }
}

}  // namespace rft
