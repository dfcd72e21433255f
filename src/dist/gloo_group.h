#pragma once
/// What some processes tell each other over Gloo: sums, parts, texts.
#include <chrono>
#include <memory>
#include <torch/csrc/distributed/c10d/ProcessGroupGloo.hpp>
#include <torch/csrc/distributed/c10d/Store.hpp>

#include "rft/dist/communicator.h"
#include "rft/dist/device_group.h"

namespace rft {

/// The processes 0 .. size - 1 of a store that is theirs alone.
class GlooGroup : public Communicator {
 public:
  int64_t rank() const override { return rank_; }
  int64_t size() const override { return size_; }
  void sum(const Tensor& tensor) override;
  void sum_parts(const Tensor& tensor) override { begin_sum_parts(tensor)(); }
  void share_parts(const Tensor& tensor) override { begin_share_parts(tensor)(); }
  std::function<void()> begin_sum_parts(const Tensor& tensor) override;
  std::function<void()> begin_share_parts(const Tensor& tensor) override;
  int64_t bytes_sent() const override;
  std::vector<std::string> gather(const std::string& mine) override;
  void at(const std::string&) override {}
  void leave() override {}
  std::unique_ptr<Communicator> subgroup(const std::string& name, const std::vector<int64_t>& ranks) override;

 protected:
  /// `name`: of this process in messages, "rank 3". Until connect() there is no group.
  GlooGroup(int64_t rank, int64_t size, std::string name) : rank_(rank), size_(size), name_(std::move(name)) {}
  /// Connects with the others, which takes all of them; throws c10::Error where they do not come within `limit`.
  void connect(c10::intrusive_ptr<c10d::Store> store, std::chrono::milliseconds limit);

 private:
  struct Message {
    Tensor tensor;
    c10::intrusive_ptr<c10d::Work> work;
  };
  /// What goes on between all processes at once, under one tag.
  struct Exchange {
    int tag = 0;
    std::vector<Message> sent, received;
  };

  std::vector<Tensor> gather_bytes(const Tensor& mine);
  DeviceGroup& on_device(const Tensor& tensor);
  Tensor part(const Tensor& tensor, int64_t rank) const;
  Exchange begin_exchange();
  void send_and_receive(Exchange& all, const Tensor& sent, int64_t to, const Tensor& received, int64_t from);
  void finish(Message& message);
  template <class Step>
  void guarded(const Step& step, const char* what);
  template <class Start>
  void finish(const Start& start, const char* what);
  [[noreturn]] void failed(const char* what, const std::exception& error);

  int64_t rank_, size_;
  std::string name_;
  c10::intrusive_ptr<c10d::Store> store_;
  c10::intrusive_ptr<c10d::ProcessGroupGloo> group_;
  std::unique_ptr<DeviceGroup> on_device_;  ///< made when the first tensor on a GPU comes
  std::chrono::milliseconds limit_{0};
  int tag_ = 0;
};

/// The first line of a message of c10d's: its stack traces help nobody here.
std::string first_line(const std::exception& error);

}  // namespace rft
