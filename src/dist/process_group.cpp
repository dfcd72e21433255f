/// Processes over LibTorch's c10d: a TCPStore to find each other, Gloo to sum and gather.
#define USE_C10D_GLOO
#include <ATen/ATen.h>
#include <unistd.h>

#include <chrono>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <torch/csrc/distributed/c10d/PrefixStore.hpp>
#include <torch/csrc/distributed/c10d/ProcessGroupGloo.hpp>
#include <torch/csrc/distributed/c10d/TCPStore.hpp>

#include "dist/deadline.h"
#include "dist/heartbeat.h"
#include "dist/traffic.h"
#include "rft/core/error.h"
#include "rft/core/log.h"
#include "rft/core/text.h"
#include "rft/dist/communicator.h"
#include "rft/dist/device_group.h"

namespace rft {
namespace {

using std::chrono::milliseconds;

/// Another process's silence is found by the heartbeat; this is for what it can't see.
constexpr auto kLongestWait = std::chrono::hours(24);

double seconds(const char* name, double fallback) {
  const char* text = std::getenv(name);
  if (!text || !*text) return fallback;
  char* end = nullptr;
  double value = std::strtod(text, &end);
  if (*end || !(value >= 1)) bad_input(name, "must be a number of seconds, at least 1; got '", text, "'");
  return value;
}

/// The first line of a message of c10d's: its stack traces help nobody here.
std::string first_line(const std::exception& error) {
  std::string text = error.what();
  return text.substr(0, text.find('\n'));
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

class GlooCommunicator : public Communicator {
 public:
  explicit GlooCommunicator(const Launch& launch) : launch_(launch) {
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
      auto options = c10d::ProcessGroupGloo::Options::create(milliseconds(static_cast<int64_t>(join * 1000)));
      const char* interface = std::getenv("GLOO_SOCKET_IFNAME");  // PyTorch's variable, for hosts with several
      options->devices.push_back(interface && *interface ? c10d::ProcessGroupGloo::createDeviceForInterface(interface)
                                                         : c10d::ProcessGroupGloo::createDefaultDevice());
      group_ = c10::make_intrusive<c10d::ProcessGroupGloo>(store_, static_cast<int>(launch.rank),
                                                           static_cast<int>(launch.size), options);
    } catch (const c10::Error& error) {
      run_failed("dist", "rank ", launch.rank, " of ", launch.size, " could not join the others by the store of ",
                 keeper, " at ", launch.address, ":", launch.port, " within ", join, " s: ", first_line(error));
    }
    wait_ = std::chrono::duration_cast<milliseconds>(kLongestWait);
  }

  int64_t rank() const override { return launch_.rank; }
  int64_t size() const override { return launch_.size; }

  void sum(const Tensor& tensor) override {
    if (!tensor.is_contiguous() || !tensor.is_floating_point())
      run_failed("dist", "only contiguous floating-point tensors are summed; got ", tensor.toString());
    if (!tensor.is_cpu()) return on_device(tensor).sum(tensor);
    bool wide = tensor.scalar_type() == at::kFloat || tensor.scalar_type() == at::kDouble;
    std::vector<at::Tensor> all{wide ? tensor.view({-1}) : tensor.view({-1}).to(at::kFloat)};
    c10d::AllreduceOptions options;
    options.timeout = wait_;
    finish([&] { return group_->allreduce(all, options); }, "a sum");
    if (!wide) tensor.view({-1}).copy_(all[0]);
  }

  void sum_parts(const Tensor& tensor) override { begin_sum_parts(tensor)(); }
  void share_parts(const Tensor& tensor) override { begin_share_parts(tensor)(); }

  // In pairs, because Gloo's own reduce_scatter sends as much as its allreduce does, twice what is needed. Gloo's
  // threads send and receive while the caller goes on.
  std::function<void()> begin_sum_parts(const Tensor& tensor) override {
    if (!tensor.is_cpu()) return on_device(tensor).sum_parts(tensor), [] {};
    Exchange all = begin_exchange();
    for (int64_t away = 1; away < launch_.size; ++away) {
      int64_t to = (launch_.rank + away) % launch_.size, from = (launch_.rank + launch_.size - away) % launch_.size;
      send_and_receive(all, part(tensor, to), to, at::empty_like(part(tensor, launch_.rank)), from);
    }
    return [this, all = std::move(all), mine = part(tensor, launch_.rank)]() mutable {
      at::Tensor sum = mine.element_size() < 4 ? mine.to(at::kFloat) : mine;
      for (Message& message : all.received) finish(message), sum.add_(message.tensor);
      if (!sum.is_same(mine)) mine.copy_(sum);
      for (Message& message : all.sent) finish(message);
    };
  }

  std::function<void()> begin_share_parts(const Tensor& tensor) override {
    if (!tensor.is_cpu()) return on_device(tensor).share_parts(tensor), [] {};
    Exchange all = begin_exchange();
    for (int64_t away = 1; away < launch_.size; ++away) {
      int64_t to = (launch_.rank + away) % launch_.size, from = (launch_.rank + launch_.size - away) % launch_.size;
      send_and_receive(all, part(tensor, launch_.rank), to, part(tensor, from), from);
    }
    return [this, all = std::move(all)]() mutable {
      for (Message& message : all.received) finish(message);
      for (Message& message : all.sent) finish(message);
    };
  }

  int64_t bytes_sent() const override { return tcp_bytes_sent(); }

  std::vector<std::string> gather(const std::string& mine) override {
    auto lengths = gather_bytes(at::full({1}, static_cast<int64_t>(mine.size()), at::kLong));
    int64_t longest = 1;
    for (const auto& length : lengths) longest = std::max(longest, length.item<int64_t>());
    at::Tensor padded = at::zeros({longest}, at::kByte);
    std::memcpy(padded.data_ptr(), mine.data(), mine.size());
    auto all = gather_bytes(padded);
    std::vector<std::string> out;
    for (size_t r = 0; r < all.size(); ++r)
      out.emplace_back(static_cast<const char*>(all[r].const_data_ptr()),
                       static_cast<size_t>(lengths[r].item<int64_t>()));
    return out;
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

  std::vector<at::Tensor> gather_bytes(const at::Tensor& mine) {
    std::vector<std::vector<at::Tensor>> all(1);
    for (int64_t r = 0; r < launch_.size; ++r) all[0].push_back(at::empty_like(mine));
    std::vector<at::Tensor> in{mine};
    c10d::AllgatherOptions options;
    options.timeout = wait_;
    finish([&] { return group_->allgather(all, in, options); }, "a gathering");
    return all[0];
  }

  DeviceGroup& on_device(const Tensor& tensor) {
    if (!on_device_) {
      if (!device_groups()) run_failed("dist", "tensors on ", tensor.device(), " need rft's CUDA part");
      on_device_ = device_groups()(*this, tensor.device());
    }
    return *on_device_;
  }

  at::Tensor part(const Tensor& tensor, int64_t rank) const {
    if (!tensor.is_contiguous() || !tensor.is_floating_point() || tensor.dim() != 1 || tensor.numel() % launch_.size)
      run_failed("dist", "only contiguous floating-point tensors [n] of a multiple of ", launch_.size,
                 " elements have parts; got ", tensor.toString(), " of ", tensor.numel());
    int64_t length = tensor.numel() / launch_.size;
    return tensor.narrow(0, rank * length, length);
  }

  struct Message {
    at::Tensor tensor;
    c10::intrusive_ptr<c10d::Work> work;
  };
  /// What goes on between all processes at once, under one tag.
  struct Exchange {
    int tag = 0;
    std::vector<Message> sent, received;
  };

  Exchange begin_exchange() {
    constexpr int kTags = 1 << 20;  // many more than there are exchanges at a time
    tag_ = (tag_ + 1) % kTags;
    return {tag_, {}, {}};
  }

  void send_and_receive(Exchange& all, const at::Tensor& sent, int64_t to, const at::Tensor& received, int64_t from) {
    if (!sent.numel()) return;
    std::vector<at::Tensor> out{sent}, in{received};
    guarded([&] {
      all.sent.push_back({sent, group_->send(out, static_cast<int>(to), all.tag)});
      all.received.push_back({received, group_->recv(in, static_cast<int>(from), all.tag)});
    });
  }

  void finish(Message& message) {
    guarded([&] { message.work->wait(wait_); });
  }

  /// Starts or waits for an exchange.
  template <class Step>
  void guarded(const Step& step) {
    try {
      step();
    } catch (const c10::Error& error) {
      failed("an exchange", error);
    } catch (const std::runtime_error& error) {
      failed("an exchange", error);
    }
  }

  template <class Start>
  void finish(const Start& start, const char* what) {
    try {
      start()->wait(wait_);
    } catch (const c10::Error& error) {
      failed(what, error);
    } catch (const std::runtime_error& error) {
      failed(what, error);
    }
  }

  [[noreturn]] void failed(const char* what, const std::exception& error) {
    run_failed("dist", "rank ", launch_.rank, " lost the others in ", what, ": ", first_line(error));
  }

  Launch launch_;
  c10::intrusive_ptr<c10d::Store> store_;
  c10::intrusive_ptr<c10d::ProcessGroupGloo> group_;
  std::unique_ptr<Heartbeat> heartbeat_;
  std::unique_ptr<DeviceGroup> on_device_;  ///< made when the first tensor on a GPU comes
  milliseconds wait_{0};
  int tag_ = 0;
};

}  // namespace

DeviceGroupMaker& device_groups() {
  static DeviceGroupMaker maker = nullptr;
  return maker;
}

std::unique_ptr<Communicator> join_processes(const Launch& launch) {
  if (launch.size <= 1) return nullptr;
  return std::make_unique<GlooCommunicator>(launch);
}

}  // namespace rft
