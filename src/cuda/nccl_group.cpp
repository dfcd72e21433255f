// Sums over processes by NCCL. It is used as it is, without c10d: who takes part is known from the processes' Gloo
// group, and a lost process is found by its heartbeat.
#include <ATen/ATen.h>
#include <c10/cuda/CUDAGuard.h>
#include <nccl.h>

#include <algorithm>
#include <cstring>

#include "cuda/runtime.h"
#include "rft/core/error.h"
#include "rft/dist/device_group.h"

namespace rft::cuda {
namespace {

/// Elements of a part that are summed in float32 at once: 256 MiB.
constexpr int64_t kWide = int64_t{1} << 26;

void nccl(ncclResult_t result, const char* what) {
  if (result != ncclSuccess) run_failed("nccl", what, ": ", ncclGetErrorString(result));
}

ncclDataType_t type_of(const Tensor& x) {
  switch (x.scalar_type()) {
    case at::kFloat:
      return ncclFloat32;
    case at::kDouble:
      return ncclFloat64;
    case at::kBFloat16:
      return ncclBfloat16;
    case at::kHalf:
      return ncclFloat16;
    default:
      run_failed("nccl", "only floating-point tensors are summed; got ", x.toString());
  }
}

class NcclGroup : public DeviceGroup {
 public:
  NcclGroup(Communicator& processes, const at::Device& device)
      : rank_(processes.rank()), size_(processes.size()), device_(device) {
    ncclUniqueId id{};
    if (rank_ == 0) nccl(ncclGetUniqueId(&id), "making an id");
    std::string mine(reinterpret_cast<const char*>(&id), sizeof(id));
    std::memcpy(&id, processes.gather(mine)[0].data(), sizeof(id));
    const c10::cuda::CUDAGuard guard(device_);
    nccl(ncclCommInitRank(&group_, static_cast<int>(size_), id, static_cast<int>(rank_)), "joining the processes");
  }
  ~NcclGroup() override { ncclCommAbort(group_); }
  NcclGroup(const NcclGroup&) = delete;
  NcclGroup& operator=(const NcclGroup&) = delete;

  void sum(const Tensor& tensor) override {
    const c10::cuda::CUDAGuard guard(device_);
    Tensor wide = tensor.element_size() < 4 ? tensor.to(at::kFloat) : tensor;
    nccl(ncclAllReduce(wide.const_data_ptr(), wide.mutable_data_ptr(), static_cast<size_t>(wide.numel()), type_of(wide),
                       ncclSum, group_, stream_of()),
         "a sum");
    if (!wide.is_same(tensor)) tensor.copy_(wide);
  }

  void sum_parts(const Tensor& tensor) override {
    const c10::cuda::CUDAGuard guard(device_);
    Tensor parts = tensor.view({size_, -1}), mine = parts[rank_];
    if (tensor.element_size() >= 4) return reduce(parts, mine);
    for (int64_t at = 0; at < mine.numel(); at += kWide) {
      int64_t n = std::min(kWide, mine.numel() - at);
      Tensor sum = at::empty({n}, mine.options().dtype(at::kFloat));
      reduce(parts.narrow(1, at, n).to(at::kFloat).contiguous(), sum);
      mine.narrow(0, at, n).copy_(sum);
    }
  }

  void share_parts(const Tensor& tensor) override {
    const c10::cuda::CUDAGuard guard(device_);
    Tensor mine = tensor.view({size_, -1})[rank_];
    nccl(ncclAllGather(mine.const_data_ptr(), tensor.mutable_data_ptr(), static_cast<size_t>(mine.numel()),
                       type_of(tensor), group_, stream_of()),
         "sharing parts");
  }

 private:
  static cudaStream_t stream_of() { return static_cast<cudaStream_t>(stream()); }
  void reduce(const Tensor& parts, const Tensor& mine) {
    nccl(ncclReduceScatter(parts.const_data_ptr(), mine.mutable_data_ptr(), static_cast<size_t>(mine.numel()),
                           type_of(parts), ncclSum, group_, stream_of()),
         "a sum of parts");
  }

  int64_t rank_, size_;
  at::Device device_;
  ncclComm_t group_ = nullptr;
};

const bool told = [] {
  device_groups() = [](Communicator& processes, const at::Device& device) -> std::unique_ptr<DeviceGroup> {
    return std::make_unique<NcclGroup>(processes, device);
  };
  return true;
}();

}  // namespace
}  // namespace rft::cuda
