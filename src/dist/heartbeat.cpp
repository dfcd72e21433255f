#include "dist/heartbeat.h"

#include <unistd.h>

#include <chrono>
#include <exception>

#include "rft/core/error.h"
#include "rft/core/log.h"

namespace rft {
namespace {

double now() { return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count(); }

constexpr char kLeft[] = "left", kFailed[] = "failed";

std::string key(int64_t rank) { return "alive/" + std::to_string(rank); }

}  // namespace

Heartbeat::Heartbeat(Store store, std::string keeper, int64_t rank, int64_t size, double silence)
    : store_(std::move(store)),
      keeper_(std::move(keeper)),
      rank_(rank),
      size_(size),
      silence_(silence),
      answers_(std::make_unique<Deadline>(silence, [this] { no_answer(); })) {
  double start = now();
  for (int64_t other = 0; other < size_; ++other) heard_[other] = {"", start};
  thread_ = std::thread([this] { run(); });
}

Heartbeat::~Heartbeat() {
  leaving_ = true;
  if (thread_.joinable()) thread_.join();
}

void Heartbeat::leave(bool keeps_store) {
  left_ = leaving_ = true;
  thread_.join();
  answers_.reset();
  for (double until = now() + silence_; keeps_store && now() < until;) {
    int64_t others = 0;
    for (int64_t other = 0; other < size_; ++other) others += other != rank_ && store_.get(key(other)) != kLeft;
    if (others == 0) break;
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
  }
}

void Heartbeat::at(const std::string& where) {
  std::lock_guard lock(mutex_);
  where_ = where;
}

void Heartbeat::run() {
  const double period = silence_ / 8;
  try {
    while (!leaving_) {
      std::string where;
      {
        std::lock_guard lock(mutex_);
        where = where_;
      }
      say(cat(beats_++, " ", where));
      listen();
      answers_->renew();
      for (double until = now() + period; now() < until && !leaving_;)
        std::this_thread::sleep_for(std::chrono::milliseconds(20));
    }
    say(left_ ? kLeft : kFailed);
  } catch (const std::exception& error) {
    // The store is rank 0's (or torchrun's agent's): without it the run is over. At the end it may go first.
    if (!leaving_) give_up(cat("the store of ", keeper_, " does not answer any more: ", error.what()));
  }
}

void Heartbeat::say(const std::string& state) { store_.set(key(rank_), state); }

void Heartbeat::listen() {
  for (int64_t other = 0; other < size_; ++other) {
    if (other == rank_) continue;
    Heard& heard = heard_[other];
    std::string said = store_.get(key(other));
    if (said != heard.said) heard = {said, now()};
    if (said == kFailed) give_up(cat("rank ", other, " failed; its own message says why"));
    if (said == kLeft || now() - heard.when < silence_) continue;
    size_t space = heard.said.find(' ');
    std::string where = space == std::string::npos ? "the start" : heard.said.substr(space + 1);
    give_up(cat("rank ", other, " has not been heard of for ", static_cast<int64_t>(silence_),
                " s (killed, stopped or cut off); it was last at ", where));
  }
}

/// A store whose keeper is stopped holds up the heartbeat itself.
void Heartbeat::no_answer() {
  give_up(cat(keeper_, " has not answered for ", static_cast<int64_t>(silence_),
              " s (killed, stopped or cut off), and it keeps the store"));
}

/// The training thread may be waiting for the silent process and can't be woken: the process ends here. What the last
/// checkpoint holds is whole, and the launcher may start the run again from it.
void Heartbeat::give_up(const std::string& reason) {
  log::error(cat("rank ", rank_, " ends: ", reason, ". Start again with --resume (torchrun --max-restarts does so)"));
  _exit(1);
}

}  // namespace rft
