#include "io/parquet_file.h"

#include <dlfcn.h>

#include <exception>

#include "io/parquet/parquet_rows.h"
#include "rft/core/device.h"
#include "rft/core/error.h"

namespace rft {
namespace {

constexpr char kModule[] = "librft_parquet.so";

RftParquetRows load_module(const std::string& file) {
  std::string path = beside_library(kModule);
  void* module = dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL);
  if (!module)
    bad_input(file, "Parquet files are read by a part of rft that is not there (", dlerror(),
              "). Run `bash cmake/bootstrap.sh`, which brings Arrow, or convert the file to JSONL");
  auto rows = reinterpret_cast<RftParquetRows>(dlsym(module, "rft_parquet_rows"));
  if (!rows) run_failed("parquet", path, " is not of this version of rft");
  return rows;
}

struct Reading {
  const std::function<void(std::string_view)>& each;
  std::string problem;
  std::exception_ptr thrown;  // by `each`; no exception may pass through the module
};

}  // namespace

void for_parquet_rows(const std::string& file, const std::function<void(std::string_view)>& each) {
  static const RftParquetRows rows = load_module(file);
  Reading reading{each, {}, {}};
  rows(
      file.c_str(), &reading,
      [](void* to, const char* json, size_t size) {
        auto& reading = *static_cast<Reading*>(to);
        try {
          reading.each({json, size});
        } catch (...) {
          reading.thrown = std::current_exception();
        }
        return !reading.thrown;
      },
      [](void* to, const char* message) { static_cast<Reading*>(to)->problem = message; });
  if (reading.thrown) std::rethrow_exception(reading.thrown);
  if (!reading.problem.empty()) bad_input(file, "can't be read as Parquet: ", reading.problem);
}

}  // namespace rft
