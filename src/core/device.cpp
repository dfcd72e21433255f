#include "rft/core/device.h"

#include <dlfcn.h>

#include <cstdlib>
#include <memory>
#include <mutex>

#include "rft/core/error.h"

namespace rft {
namespace {

constexpr char kModule[] = "rft_cuda.so";
constexpr int kOldestDriver = 13000;  // CUDA 13: what the CUDA part and its LibTorch are built with

/// The driver's library, which comes with the driver and not with CUDA.
class Driver {
 public:
  explicit Driver(const std::string& where) {
    void* library = dlopen("libcuda.so.1", RTLD_NOW | RTLD_GLOBAL);
    if (!library) bad_input(where, "there is no NVIDIA driver on this machine (", dlerror(), "); use the device cpu");
    call(library, "cuInit", where, 0u);
    call(library, "cuDriverGetVersion", where, &version_);
    call(library, "cuDeviceGetCount", where, &devices_);
  }
  int version() const { return version_; }
  int devices() const { return devices_; }

 private:
  template <class Argument>
  static void call(void* library, const char* name, const std::string& where, Argument argument) {
    auto function = reinterpret_cast<int (*)(Argument)>(dlsym(library, name));
    int error = function ? function(argument) : -1;
    if (error != 0)
      bad_input(where, "the NVIDIA driver can't be used: ", name, " says error ", error,
                error == 100 ? " (no GPU is visible; see CUDA_VISIBLE_DEVICES)" : "");
  }
  int version_ = 0, devices_ = 0;
};

void load_module(const std::string& where) {
  std::string path = beside_library(kModule);
  if (dlopen(path.c_str(), RTLD_NOW | RTLD_GLOBAL)) return;
  std::string problem = dlerror();
  bad_input(
      where, "rft's CUDA part can't be loaded (", problem,
      "). It is built by `cmake --preset cuda` and needs LibTorch's CUDA libraries (cublas, cudnn, nccl, ...: `pip "
      "install torch` brings them) where the loader finds them, for instance by LD_LIBRARY_PATH");
}

/// Once a process; a failure is said again to whoever asks next.
const Driver& loaded(const std::string& where) {
  static std::mutex mutex;
  static std::unique_ptr<Driver> driver;
  std::lock_guard lock(mutex);
  if (driver) return *driver;
  auto found = std::make_unique<Driver>(where);
  if (found->version() < kOldestDriver)
    bad_input(where, "the NVIDIA driver is for CUDA ", found->version() / 1000, ".", found->version() % 1000 / 10,
              "; CUDA 13.0 (driver 580 or newer) is needed");
  load_module(where);
  driver = std::move(found);
  return *driver;
}

/// Of the processes on one machine each has a GPU of its own: torchrun's, Slurm's or Open MPI's number of it.
int own_index() {
  for (const char* name : {"LOCAL_RANK", "SLURM_LOCALID", "OMPI_COMM_WORLD_LOCAL_RANK"})
    if (const char* text = std::getenv(name); text && *text) return std::atoi(text);
  return 0;
}

at::Device& in_use() {
  static at::Device device = at::kCPU;
  return device;
}

}  // namespace

at::Device device_of(const std::string& name, const std::string& where) {
  if (name == "cpu") return at::kCPU;
  bool digits = name.size() > 5 && name.size() < 9 && name.find_first_not_of("0123456789", 5) == std::string::npos;
  if (name != "cuda" && !(name.starts_with("cuda:") && digits))
    bad_input(where, "must be cpu, cuda or cuda:N; got '", name, "'");
  int index = digits ? std::stoi(name.substr(5)) : own_index(), count = loaded(where).devices();
  if (index >= count)
    bad_input(where, "there are ", count, " GPUs here, numbered from 0; got '", name, "', which is number ", index);
  in_use() = {at::kCUDA, static_cast<at::DeviceIndex>(index)};
  if (device_functions().select) device_functions().select(in_use().index());
  return in_use();
}

at::Device device_in_use() { return in_use(); }

DeviceFunctions& device_functions() {
  static DeviceFunctions functions;
  return functions;
}

void synchronize(const at::Device& device) {
  if (device.is_cuda() && device_functions().synchronize) device_functions().synchronize(device.index());
}

DeviceMemory device_memory(const at::Device& device) {
  if (device.is_cuda() && device_functions().memory) return device_functions().memory(device.index());
  return {};
}

void reset_peak_memory(const at::Device& device) {
  if (device.is_cuda() && device_functions().reset_peak) device_functions().reset_peak(device.index());
}

std::string beside_library(const std::string& file) {
  Dl_info here;
  if (!dladdr(reinterpret_cast<void*>(&beside_library), &here) || !here.dli_fname) return file;
  std::string path = here.dli_fname;
  return path.substr(0, path.rfind('/') + 1) + file;
}

}  // namespace rft
