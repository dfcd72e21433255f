#include "rft/io/safetensors.h"

#include <ATen/ATen.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <iterator>
#include <map>
#include <mutex>
#include <nlohmann/json.hpp>
#include <set>
#include <string_view>

#include "rft/core/error.h"
#include "rft/core/json_depth.h"
#include "rft/io/files.h"

namespace rft {
namespace {

constexpr uint64_t kMaxHeader = 100'000'000;  // the format's own limit
constexpr size_t kMaxDimensions = 64;
constexpr int kDeepestHeader = 3;  // tensors, one tensor's fields, its shape

struct Dtype {
  const char* name;
  at::ScalarType type;
};
constexpr Dtype kDtypes[] = {{"F64", at::kDouble},
                             {"F32", at::kFloat},
                             {"F16", at::kHalf},
                             {"BF16", at::kBFloat16},
                             {"I64", at::kLong},
                             {"I32", at::kInt},
                             {"I16", at::kShort},
                             {"I8", at::kChar},
                             {"U64", at::kUInt64},
                             {"U32", at::kUInt32},
                             {"U16", at::kUInt16},
                             {"U8", at::kByte},
                             {"C64", at::kComplexFloat},
                             {"F8_E4M3", at::kFloat8_e4m3fn},
                             {"F8_E5M2", at::kFloat8_e5m2},
                             {"BOOL", at::kBool}};

/// Where files lie in memory: the ends of the maps that are alive, by their beginnings.
class LiveMaps {
 public:
  static LiveMaps& all() {
    static LiveMaps maps;
    return maps;
  }
  void add(const char* begin, size_t size) {
    const std::lock_guard lock(mutex_);
    ends_[begin] = begin + size;
  }
  void remove(const char* begin) {
    const std::lock_guard lock(mutex_);
    ends_.erase(begin);
  }
  bool hold(const char* begin, const char* end) const {
    const std::lock_guard lock(mutex_);
    const auto after = ends_.upper_bound(begin);
    return after != ends_.begin() && end <= std::prev(after)->second;
  }

 private:
  mutable std::mutex mutex_;
  std::map<const char*, const char*> ends_;
};

/// A private, writable map of a whole file: writing to a tensor copies the page and never changes the file.
class Map {
 public:
  explicit Map(const std::string& file) {
    int fd = ::open(file.c_str(), O_RDONLY | O_CLOEXEC);
    struct stat info {};
    if (fd < 0 || ::fstat(fd, &info) != 0 || !S_ISREG(info.st_mode)) {
      std::string reason = fd < 0 ? std::strerror(errno) : "it is not a regular file";
      if (fd >= 0) ::close(fd);
      bad_input(file, "the file can't be read: ", reason);
    }
    size_ = static_cast<size_t>(info.st_size);
    if (size_ > 0)
      data_ = static_cast<char*>(::mmap(nullptr, size_, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_NORESERVE, fd, 0));
    int reason = errno;
    ::close(fd);
    if (data_ == MAP_FAILED) bad_input(file, "the file can't be mapped: ", std::strerror(reason));
    if (data_) LiveMaps::all().add(data_, size_);
  }
  ~Map() {
    if (!data_) return;
    LiveMaps::all().remove(data_);
    ::munmap(data_, size_);
  }
  Map(const Map&) = delete;
  Map& operator=(const Map&) = delete;
  char* data() const { return data_; }
  size_t size() const { return size_; }

 private:
  char* data_ = nullptr;
  size_t size_ = 0;
};

/// Parses the header; a name that is given twice (at any level) or nesting deeper than the format has is refused.
nlohmann::json parse_header(const std::string& file, std::string_view text) {
  if (text.empty() || text[0] != '{') bad_input(file, "the header must begin with '{'");
  if (too_deep_at(text, kDeepestHeader)) bad_input(file, "the header nests deeper than the format's ", kDeepestHeader);
  std::vector<std::set<std::string>> names;
  std::string twice;
  auto watch = [&](int, nlohmann::json::parse_event_t event, nlohmann::json& value) {
    using Event = nlohmann::json::parse_event_t;
    if (event == Event::object_start) names.emplace_back();
    if (event == Event::object_end) names.pop_back();
    if (event == Event::key && !names.back().insert(value.get<std::string>()).second) twice = value.get<std::string>();
    return true;
  };
  auto header = nlohmann::json::parse(text, watch, /*allow_exceptions=*/false);
  if (!header.is_object()) bad_input(file, "the header is not JSON");
  if (!twice.empty()) bad_input(file, "the header gives the name '", twice, "' twice");
  return header;
}

struct Entry {
  std::string name;
  at::ScalarType type;
  std::vector<int64_t> shape;
  uint64_t begin, end;
};

Entry read_entry(const std::string& file, const std::string& name, const nlohmann::json& json) {
  auto wrong = [&](const std::string& rule) {
    bad_input(file, "tensor '", name, "': ", rule, "; got ", json.dump().substr(0, 200));
  };
  if (!json.is_object() || json.size() != 3 || !json.contains("dtype") || !json.contains("shape") ||
      !json.contains("data_offsets"))
    wrong("needs dtype, shape and data_offsets");
  Entry entry{name, at::kFloat, {}, 0, 0};
  const auto* dtype =
      std::find_if(std::begin(kDtypes), std::end(kDtypes), [&](const Dtype& d) { return json["dtype"] == d.name; });
  if (dtype == std::end(kDtypes)) wrong("its dtype is not known");
  entry.type = dtype->type;
  const auto &shape = json["shape"], &offsets = json["data_offsets"];
  if (!shape.is_array() || shape.size() > kMaxDimensions) wrong("shape must be a list of sizes");
  // A size of 0 does not hide an overflow: strides are products of the other sizes.
  int64_t bytes = static_cast<int64_t>(c10::elementSize(entry.type));
  bool empty = false;
  for (const auto& size : shape) {
    if (!size.is_number_unsigned()) wrong("shape must hold whole numbers of at least 0");
    empty |= size == 0;
    if (__builtin_mul_overflow(bytes, std::max(size.get<uint64_t>(), uint64_t{1}), &bytes)) wrong("its size overflows");
    entry.shape.push_back(size.get<int64_t>());
  }
  if (empty) bytes = 0;
  if (!offsets.is_array() || offsets.size() != 2 || !offsets[0].is_number_unsigned() ||
      !offsets[1].is_number_unsigned())
    wrong("data_offsets must be two whole numbers");
  entry.begin = offsets[0], entry.end = offsets[1];
  if (entry.begin > entry.end || entry.end - entry.begin != static_cast<uint64_t>(bytes))
    wrong(cat("shape and dtype take ", bytes, " bytes, data_offsets say otherwise"));
  return entry;
}

/// The tensors must follow each other without overlap or hole and end with the file.
void check_layout(const std::string& file, std::vector<Entry>& entries, uint64_t data_size) {
  std::sort(entries.begin(), entries.end(),
            [](const Entry& a, const Entry& b) { return std::tie(a.begin, a.end) < std::tie(b.begin, b.end); });
  uint64_t at = 0;
  for (const auto& entry : entries) {
    if (entry.begin != at)
      bad_input(file, "tensor '", entry.name, "' must begin at byte ", at, " of the data; its data_offsets say ",
                entry.begin, entry.begin < at ? " (overlap)" : " (hole)");
    at = entry.end;
  }
  if (at != data_size)
    bad_input(file, "the tensors take ", at, " bytes, the file holds ", data_size,
              at > data_size ? ": it is cut short" : ": it has bytes that belong to none");
}

Tensor tensor_of(const Entry& entry, const std::shared_ptr<Map>& map, char* data) {
  auto options = at::TensorOptions().dtype(entry.type);
  char* begin = data + entry.begin;
  if (entry.end == entry.begin) return at::empty(entry.shape, options);
  // A bool that is neither 0 nor 1 is undefined behaviour.
  if (entry.type == at::kBool) return at::from_blob(begin, entry.shape, at::kByte).ne(0);
  if (reinterpret_cast<uintptr_t>(begin) % c10::elementSize(entry.type) == 0)
    return at::from_blob(
        begin, entry.shape, [map](void*) {}, options);
  Tensor copy = at::empty(entry.shape, options);  // old writers did not pad the header
  std::memcpy(copy.data_ptr(), begin, entry.end - entry.begin);
  return copy;
}

const char* dtype_name(at::ScalarType type, const std::string& file) {
  for (const auto& known : kDtypes)
    if (known.type == type) return known.name;
  run_failed(file, "safetensors have no dtype for ", c10::toString(type));
}

}  // namespace

SafetensorsFile load_safetensors(const std::string& file) {
  auto map = std::make_shared<Map>(file);
  if (map->size() < 8) bad_input(file, "a safetensors file has at least 8 bytes; got ", map->size());
  uint64_t length = 0;
  std::memcpy(&length, map->data(), 8);
  if (length > kMaxHeader) bad_input(file, "the header may have at most ", kMaxHeader, " bytes; it says ", length);
  if (length > map->size() - 8)
    bad_input(file, "the header says it has ", length, " bytes, the file has only ", map->size() - 8,
              " after the length");
  auto header = parse_header(file, {map->data() + 8, length});
  SafetensorsFile out;
  std::vector<Entry> entries;
  for (const auto& [name, value] : header.items()) {
    if (name != "__metadata__") {
      entries.push_back(read_entry(file, name, value));
      continue;
    }
    if (!value.is_object()) bad_input(file, "__metadata__ must be a map of texts");
    for (const auto& [key, text] : value.items()) {
      if (!text.is_string()) bad_input(file, "__metadata__ must be a map of texts; '", key, "' is none");
      out.metadata[key] = text;
    }
  }
  check_layout(file, entries, map->size() - 8 - length);
  for (const auto& entry : entries) out.tensors[entry.name] = tensor_of(entry, map, map->data() + 8 + length);
  return out;
}

void release_pages(const Tensor& tensor) {
  const auto page = static_cast<uintptr_t>(::sysconf(_SC_PAGESIZE));
  const auto* begin = static_cast<const char*>(tensor.const_data_ptr());
  const char* end = begin + tensor.nbytes();
  if (!tensor.is_contiguous() || !LiveMaps::all().hold(begin, end)) return;
  // Pages that neighbours have a part of stay.
  const uintptr_t first = (reinterpret_cast<uintptr_t>(begin) + page - 1) / page * page,
                  last = reinterpret_cast<uintptr_t>(end) / page * page;
  if (first < last) ::madvise(reinterpret_cast<void*>(first), last - first, MADV_DONTNEED);
}

void save_safetensors(const std::string& file, const std::map<std::string, Tensor>& tensors,
                      const std::map<std::string, std::string>& metadata) {
  nlohmann::ordered_json header = nlohmann::ordered_json::object();
  if (!metadata.empty()) header["__metadata__"] = metadata;
  // Wider elements first, so that every tensor is aligned to its own.
  std::vector<std::pair<std::string, Tensor>> ordered;
  for (const auto& [name, value] : tensors) ordered.emplace_back(name, value.detach().to(at::kCPU).contiguous());
  std::stable_sort(ordered.begin(), ordered.end(),
                   [](const auto& a, const auto& b) { return a.second.element_size() > b.second.element_size(); });
  uint64_t at = 0;
  for (const auto& [name, value] : ordered) {
    header[name] = {{"dtype", dtype_name(value.scalar_type(), file)},
                    {"shape", value.sizes().vec()},
                    {"data_offsets", {at, at + value.nbytes()}}};
    at += value.nbytes();
  }
  std::string text = header.dump();
  text.append((8 - text.size() % 8) % 8, ' ');
  uint64_t length = text.size();
  std::string start(reinterpret_cast<const char*>(&length), 8);
  std::vector<std::string_view> pieces{start, text};
  for (const auto& [name, value] : ordered)
    if (value.nbytes()) pieces.emplace_back(static_cast<const char*>(value.data_ptr()), value.nbytes());
  write_pieces(file, pieces);
}

}  // namespace rft
