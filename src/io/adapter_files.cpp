#include "rft/io/adapter_files.h"

#include "rft/core/error.h"
#include "rft/io/files.h"

namespace rft {
namespace {

std::string adapter_within(const std::string& directory, const std::string& name, size_t i) {
  return cat(directory, "/", name, "-", i);
}

}  // namespace

std::vector<std::string> adapters_within(const std::string& directory, const std::string& name) {
  std::vector<std::string> out;
  for (std::string next = adapter_within(directory, name, 0); file_exists(next + kAdapterConfig);
       next = adapter_within(directory, name, out.size()))
    out.push_back(next);
  return out;
}

void copy_adapters_into(const std::string& directory, const std::string& name,
                        const std::vector<std::string>& adapters) {
  for (size_t i = 0; i < adapters.size(); ++i) {
    const std::string to = adapter_within(directory, name, i);
    make_directories(to);
    for (const char* file : {kAdapterConfig, kAdapterTensors}) write_text(to + file, read_text(adapters[i] + file));
  }
}

}  // namespace rft
