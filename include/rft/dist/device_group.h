#pragma once
/// Sums over processes of tensors that lie on GPUs, a GPU a process.
#include <memory>

#include "rft/dist/communicator.h"

namespace rft {

/// Communicator's functions of the same names, for tensors on this process's GPU.
class DeviceGroup {
 public:
  virtual ~DeviceGroup() = default;
  virtual void sum(const Tensor& tensor) = 0;
  virtual void sum_parts(const Tensor& tensor) = 0;
  virtual void share_parts(const Tensor& tensor) = 0;
};

/// Makes the group of `processes`, of which every one calls it at the same time, through gather(). The CUDA part sets
/// it when it is loaded: NCCL.
using DeviceGroupMaker = std::unique_ptr<DeviceGroup> (*)(Communicator& processes, const at::Device& device);
DeviceGroupMaker& device_groups();

}  // namespace rft
