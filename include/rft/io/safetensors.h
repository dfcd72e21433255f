#pragma once
/// The safetensors format: a length, a JSON header, raw little-endian tensors. Read by memory map, every rule checked.
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "rft/core/tensor.h"

namespace rft {

/// Tensors of one file. They are views of the memory map (copy-on-write: writing to one never changes the file) and
/// keep it alive.
struct SafetensorsFile {
  std::map<std::string, Tensor> tensors;
  std::map<std::string, std::string> metadata;
};

/// Throws UserError (file, rule, what was found) on: a header over 100 MB or longer than the file, a header that is not
/// a JSON object of the known shape, duplicate names, an unknown dtype, negative or overflowing shapes, offsets that
/// overlap, leave holes, run past the file or disagree with shape and dtype.
SafetensorsFile load_safetensors(const std::string& file);

/// Gives the memory of a tensor of load_safetensors() back to the system: what is read of it later comes from the file
/// again. It must not have been written to. Nothing happens to a tensor that is no view of a file.
void release_pages(const Tensor& tensor);

/// Writes whole or not at all: to a temporary name beside `file`, fsync, rename. Throws RunError (disk full,
/// unwritable). Order and content depend on the arguments alone, so equal input gives equal bytes.
void save_safetensors(const std::string& file, const std::map<std::string, Tensor>& tensors,
                      const std::map<std::string, std::string>& metadata = {{"format", "pt"}});

}  // namespace rft
