#include "dist/gloo_group.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <torch/csrc/distributed/c10d/PrefixStore.hpp>

#include "dist/traffic.h"
#include "rft/core/error.h"

namespace rft {
namespace {

/// Another process's silence is found by the heartbeat; this is for what it can't see.
constexpr std::chrono::milliseconds kLongestWait = std::chrono::hours(24);

/// One of a group's processes, a group of fewer.
class GlooSubgroup : public GlooGroup {
 public:
  GlooSubgroup(int64_t rank, int64_t size, std::string name, c10::intrusive_ptr<c10d::Store> store,
               std::chrono::milliseconds limit)
      : GlooGroup(rank, size, std::move(name)) {
    connect(std::move(store), limit);
  }
};

}  // namespace

std::string first_line(const std::exception& error) {
  std::string text = error.what();
  return text.substr(0, text.find('\n'));
}

void GlooGroup::connect(c10::intrusive_ptr<c10d::Store> store, std::chrono::milliseconds limit) {
  store_ = std::move(store), limit_ = limit;
  auto options = c10d::ProcessGroupGloo::Options::create(limit);
  const char* interface = std::getenv("GLOO_SOCKET_IFNAME");  // PyTorch's variable, for hosts with several
  options->devices.push_back(interface && *interface ? c10d::ProcessGroupGloo::createDeviceForInterface(interface)
                                                     : c10d::ProcessGroupGloo::createDefaultDevice());
  group_ =
      c10::make_intrusive<c10d::ProcessGroupGloo>(store_, static_cast<int>(rank_), static_cast<int>(size_), options);
}

std::unique_ptr<Communicator> GlooGroup::subgroup(const std::string& name, const std::vector<int64_t>& ranks) {
  auto mine = std::find(ranks.begin(), ranks.end(), rank_);
  if (mine == ranks.end()) run_failed("dist", name_, " makes a group of processes without itself");
  try {
    return std::make_unique<GlooSubgroup>(mine - ranks.begin(), static_cast<int64_t>(ranks.size()), name_,
                                          c10::make_intrusive<c10d::PrefixStore>(name + "/", store_), limit_);
  } catch (const c10::Error& error) {
    run_failed("dist", name_, " could not join the others of the group ", name, ": ", first_line(error));
  }
}

void GlooGroup::sum(const Tensor& tensor) {
  if (!tensor.is_contiguous() || !tensor.is_floating_point())
    run_failed("dist", "only contiguous floating-point tensors are summed; got ", tensor.toString());
  if (!tensor.is_cpu()) return on_device(tensor).sum(tensor);
  bool wide = tensor.scalar_type() == at::kFloat || tensor.scalar_type() == at::kDouble;
  std::vector<at::Tensor> all{wide ? tensor.view({-1}) : tensor.view({-1}).to(at::kFloat)};
  c10d::AllreduceOptions options;
  options.timeout = kLongestWait;
  finish([&] { return group_->allreduce(all, options); }, "a sum");
  if (!wide) tensor.view({-1}).copy_(all[0]);
}

// In pairs, because Gloo's own reduce_scatter sends as much as its allreduce does, twice what is needed. Gloo's
// threads send and receive while the caller goes on.
std::function<void()> GlooGroup::begin_sum_parts(const Tensor& tensor) {
  if (!tensor.is_cpu()) return on_device(tensor).sum_parts(tensor), [] {};
  Exchange all = begin_exchange();
  for (int64_t away = 1; away < size_; ++away) {
    int64_t to = (rank_ + away) % size_, from = (rank_ + size_ - away) % size_;
    send_and_receive(all, part(tensor, to), to, at::empty_like(part(tensor, rank_)), from);
  }
  return [this, all = std::move(all), mine = part(tensor, rank_)]() mutable {
    at::Tensor sum = mine.element_size() < 4 ? mine.to(at::kFloat) : mine;
    for (Message& message : all.received) finish(message), sum.add_(message.tensor);
    if (!sum.is_same(mine)) mine.copy_(sum);
    for (Message& message : all.sent) finish(message);
  };
}

std::function<void()> GlooGroup::begin_share_parts(const Tensor& tensor) {
  if (!tensor.is_cpu()) return on_device(tensor).share_parts(tensor), [] {};
  Exchange all = begin_exchange();
  for (int64_t away = 1; away < size_; ++away) {
    int64_t to = (rank_ + away) % size_, from = (rank_ + size_ - away) % size_;
    send_and_receive(all, part(tensor, rank_), to, part(tensor, from), from);
  }
  return [this, all = std::move(all)]() mutable {
    for (Message& message : all.received) finish(message);
    for (Message& message : all.sent) finish(message);
  };
}

int64_t GlooGroup::bytes_sent() const { return tcp_bytes_sent(); }

std::vector<std::string> GlooGroup::gather(const std::string& mine) {
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

std::vector<Tensor> GlooGroup::gather_bytes(const at::Tensor& mine) {
  std::vector<std::vector<at::Tensor>> all(1);
  for (int64_t r = 0; r < size_; ++r) all[0].push_back(at::empty_like(mine));
  std::vector<at::Tensor> in{mine};
  c10d::AllgatherOptions options;
  options.timeout = kLongestWait;
  finish([&] { return group_->allgather(all, in, options); }, "a gathering");
  return all[0];
}

DeviceGroupMaker& device_groups() {
  static DeviceGroupMaker maker = nullptr;
  return maker;
}

DeviceGroup& GlooGroup::on_device(const Tensor& tensor) {
  if (!on_device_) {
    if (!device_groups()) run_failed("dist", "tensors on ", tensor.device(), " need rft's CUDA part");
    on_device_ = device_groups()(*this, tensor.device());
  }
  return *on_device_;
}

Tensor GlooGroup::part(const Tensor& tensor, int64_t rank) const {
  if (!tensor.is_contiguous() || !tensor.is_floating_point() || tensor.dim() != 1 || tensor.numel() % size_)
    run_failed("dist", "only contiguous floating-point tensors [n] of a multiple of ", size_,
               " elements have parts; got ", tensor.toString(), " of ", tensor.numel());
  int64_t length = tensor.numel() / size_;
  return tensor.narrow(0, rank * length, length);
}

GlooGroup::Exchange GlooGroup::begin_exchange() {
  constexpr int kTags = 1 << 20;  // many more than there are exchanges at a time
  tag_ = (tag_ + 1) % kTags;
  return {tag_, {}, {}};
}

void GlooGroup::send_and_receive(Exchange& all, const at::Tensor& sent, int64_t to, const at::Tensor& received,
                                 int64_t from) {
  if (!sent.numel()) return;
  std::vector<at::Tensor> out{sent}, in{received};
  guarded(
      [&] {
        all.sent.push_back({sent, group_->send(out, static_cast<int>(to), all.tag)});
        all.received.push_back({received, group_->recv(in, static_cast<int>(from), all.tag)});
      },
      "an exchange");
}

void GlooGroup::finish(Message& message) {
  guarded([&] { message.work->wait(kLongestWait); }, "an exchange");
}

template <class Start>
void GlooGroup::finish(const Start& start, const char* what) {
  guarded([&] { start()->wait(kLongestWait); }, what);
}

/// Starts or waits for what others have a part in.
template <class Step>
void GlooGroup::guarded(const Step& step, const char* what) {
  try {
    step();
  } catch (const c10::Error& error) {
    failed(what, error);
  } catch (const std::runtime_error& error) {
    failed(what, error);
  }
}

void GlooGroup::failed(const char* what, const std::exception& error) {
  run_failed("dist", name_, " lost the others in ", what, ": ", first_line(error));
}

}  // namespace rft
