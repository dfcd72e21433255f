/// Processes over LibTorch's c10d: a TCPStore to find each other.
#include <ATen/ATen.h>
#include <unistd.h>

#include <chrono>
#include <cstdlib>
#include <memory>
#include <torch/csrc/distributed/c10d/PrefixStore.hpp>
#include <torch/csrc/distributed/c10d/TCPStore.hpp>

#include "dist/deadline.h"
#include "dist/gloo_group.h"
#include "dist/heartbeat.h"
#include "rft/core/error.h"
#include "rft/core/log.h"
#include "rft/core/text.h"
#include "rft/dist/communicator.h"

namespace rft {
namespace {

using std::chrono::milliseconds;

double seconds(const char* name, double fallback) {
  const char* text = std::getenv(name);
  if (!text || !*text) return fallback;
  char* end = nullptr;
  double value = std::strtod(text, &end);
  if (*end || !(value >= 1)) bad_input(name, "must be a number of seconds, at least 1; got '", text, "'");
  return value;
}

c10::intrusive_ptr<c10d::Store> open_store(const Launch& launch, double limit, bool may_serve) {
  c10d::TCPStoreOptions options;
  options.port = static_cast<uint16_t>(launch.port);
  options.isServer = may_serve && launch.rank == 0 && !launch.agent_store;
  options.waitWorkers = false;
  options.timeout = milliseconds(static_cast<int64_t>(limit * 1000));
  auto store = c10::make_intrusive<c10d::TCPStore>(launch.address, options);
  return c10::make_intrusive<c10d::PrefixStore>(launch.prefix, store);
}

Heartbeat::Store heartbeat_store(const Launch& launch, double limit) {
  auto store = open_store(launch, limit, false);
  return {[store](const std::string& key, const std::string& value) {
            store->set(key, std::vector<uint8_t>(value.begin(), value.end()));
          },
          [store](const std::string& key) {
            if (!store->check({key})) return std::string();
            auto value = store->get(key);
            return std::string(value.begin(), value.end());
          }};
}

class GlooCommunicator : public GlooGroup {
 public:
  explicit GlooCommunicator(const Launch& launch)
      : GlooGroup(launch.rank, launch.size, cat("rank ", launch.rank)), launch_(launch) {
    double join = seconds("RFT_JOIN_SECONDS", 60), silence = seconds("RFT_SILENCE_SECONDS", 20);
    const char* keeper = launch.agent_store ? "torchrun's agent" : "rank 0";
    // c10d's own limits stretch, and do not cover a store that takes connections and does not answer.
    Deadline deadline(join + 2, [&] {
      log::error(cat("rank ", launch.rank, " of ", launch.size, " ends: it could not join the others within ", join,
                     " s; the store of ", keeper, " at ", launch.address, ":", launch.port, " does not answer"));
      _exit(1);
    });
    try {
      store_ = open_store(launch, join, true);
      deadline.renew();
      wait_for_all(join);
      deadline.renew();
      // Before the group, whose making takes all of them.
      heartbeat_ =
          std::make_unique<Heartbeat>(heartbeat_store(launch, join), keeper, launch.rank, launch.size, silence);
      connect(store_, milliseconds(static_cast<int64_t>(join * 1000)));
    } catch (const c10::Error& error) {
      run_failed("dist", "rank ", launch.rank, " of ", launch.size, " could not join the others by the store of ",
                 keeper, " at ", launch.address, ":", launch.port, " within ", join, " s: ", first_line(error));
    }
  }

  void at(const std::string& where) override { heartbeat_->at(where); }

  void leave() override {
    gather("");
    heartbeat_->leave(launch_.rank == 0 && !launch_.agent_store);
  }

 private:
  /// Names who is missing, which a time limit of Gloo's own would not.
  void wait_for_all(double limit) {
    auto key = [](int64_t rank) { return cat("here/", rank); };
    store_->set(key(launch_.rank), std::vector<uint8_t>{1});
    std::vector<std::string> keys;
    for (int64_t r = 0; r < launch_.size; ++r) keys.push_back(key(r));
    try {
      store_->wait(keys, milliseconds(static_cast<int64_t>(limit * 1000)));
    } catch (const c10::Error&) {
      std::vector<std::string> missing;
      for (int64_t r = 0; r < launch_.size; ++r)
        if (!store_->check({key(r)})) missing.push_back(std::to_string(r));
      run_failed("dist", "of ", launch_.size, " processes (WORLD_SIZE) these did not come within ", limit, " s: rank ",
                 join(missing, ", "));
    }
  }

  Launch launch_;
  c10::intrusive_ptr<c10d::Store> store_;
  std::unique_ptr<Heartbeat> heartbeat_;
};

}  // namespace

std::unique_ptr<Communicator> join_processes(const Launch& launch) {
  if (launch.size <= 1) return nullptr;
  return std::make_unique<GlooCommunicator>(launch);
}

}  // namespace rft
