#include "rft/train/tensorboard.h"

#include <unistd.h>

#include <array>
#include <atomic>
#include <bit>
#include <chrono>
#include <cstring>
#include <filesystem>
#include <optional>
#include <system_error>
#include <vector>

#include "rft/core/error.h"
#include "rft/io/files.h"

namespace fs = std::filesystem;

namespace rft {
namespace {

static_assert(std::endian::native == std::endian::little, "records are written as they lie in memory");

constexpr char kPrefix[] = "events.out.tfevents.";
constexpr size_t kFlushBytes = size_t{1} << 20, kMaxFileBytes = size_t{64} << 30;

// Protobuf by hand: a field is its key, (number << 3 | wire type), and its value. The field numbers are those of
// TensorFlow's event.proto, summary.proto and tensor.proto.
enum WireType { varint = 0, fixed64 = 1, bytes = 2, fixed32 = 5 };

void put_varint(std::string& out, uint64_t value) {
  for (; value >= 0x80; value >>= 7) out += static_cast<char>(value | 0x80);
  out += static_cast<char>(value);
}

void put_key(std::string& out, uint64_t field, WireType type) { put_varint(out, field << 3 | type); }

template <class T>
void put_raw(std::string& out, T value) {
  char raw[sizeof value];
  std::memcpy(raw, &value, sizeof value);
  out.append(raw, sizeof raw);
}

void put_int(std::string& out, uint64_t field, int64_t value) {
  put_key(out, field, varint), put_varint(out, static_cast<uint64_t>(value));
}

void put_bytes(std::string& out, uint64_t field, std::string_view value) {
  put_key(out, field, bytes), put_varint(out, value.size());
  out.append(value);
}

/// Event {wall_time = 1, step = 2}
std::string event_head(int64_t step) {
  using namespace std::chrono;
  std::string event;
  put_key(event, 1, fixed64), put_raw(event, duration<double>(system_clock::now().time_since_epoch()).count());
  put_int(event, 2, step);
  return event;
}

/// An Event with summary = 5, which holds one Value = 1.
std::string summary_event(int64_t step, const std::string& value) {
  std::string event = event_head(step), summary;
  put_bytes(summary, 1, value);
  put_bytes(event, 5, summary);
  return event;
}

/// TensorProto {dtype = 1 (7: string), tensor_shape = 2 {dim = 2 {size = 1}}, string_val = 8} of one string.
std::string string_tensor(const std::string& text) {
  std::string dim, shape, tensor;
  put_int(dim, 1, 1);
  put_bytes(shape, 2, dim);
  put_int(tensor, 1, 7), put_bytes(tensor, 2, shape), put_bytes(tensor, 8, text);
  return tensor;
}

std::array<uint32_t, 256> make_crc_table() {
  std::array<uint32_t, 256> table;
  for (uint32_t i = 0; i < 256; ++i) {
    uint32_t crc = i;
    for (int bit = 0; bit < 8; ++bit) crc = crc >> 1 ^ (crc & 1 ? 0x82F63B78u : 0u);
    table[i] = crc;
  }
  return table;
}

/// A CRC that is stored among the data it covers is stored rotated, with a constant added.
uint32_t masked_crc(std::string_view data) { return std::rotr(crc32c(data), 15) + 0xA282EAD8u; }

std::string record(std::string_view data) {
  std::string length, out;
  put_raw(length, static_cast<uint64_t>(data.size()));
  out = length, put_raw(out, masked_crc(length));
  out.append(data), put_raw(out, masked_crc(data));
  return out;
}

template <class T>
T raw_at(std::string_view from, size_t at) {
  T value;
  std::memcpy(&value, from.data() + at, sizeof value);
  return value;
}

/// Takes the data of the first record off `rest`; nothing where it is broken or cut off.
std::optional<std::string_view> take_record(std::string_view& rest) {
  constexpr size_t head = 12, tail = 4;
  if (rest.size() < head + tail || raw_at<uint32_t>(rest, 8) != masked_crc(rest.substr(0, 8))) return {};
  auto size = raw_at<uint64_t>(rest, 0);
  if (size > rest.size() - head - tail) return {};
  std::string_view data = rest.substr(head, size);
  if (raw_at<uint32_t>(rest, head + size) != masked_crc(data)) return {};
  rest.remove_prefix(head + size + tail);
  return data;
}

std::optional<uint64_t> take_varint(std::string_view& rest) {
  uint64_t value = 0;
  for (int shift = 0; shift < 64 && !rest.empty(); shift += 7) {
    auto byte = static_cast<unsigned char>(rest.front());
    rest.remove_prefix(1);
    value |= static_cast<uint64_t>(byte & 0x7F) << shift;
    if (byte < 0x80) return value;
  }
  return {};
}

/// The event's step; 0 where it has none, as protobuf leaves zeros out.
int64_t step_of(std::string_view event) {
  int64_t step = 0;
  while (!event.empty()) {
    auto key = take_varint(event);
    if (!key) break;
    uint64_t skip = *key % 8 == fixed64 ? 8 : *key % 8 == fixed32 ? 4 : 0;
    if (*key % 8 == varint || *key % 8 == bytes) {
      auto value = take_varint(event);
      if (!value) break;
      if (*key % 8 == bytes)
        skip = *value;
      else if (*key >> 3 == 2)
        step = static_cast<int64_t>(*value);
    }
    if (skip > event.size()) break;
    event.remove_prefix(skip);
  }
  return step;
}

void keep_file(const std::string& file, int64_t last_step) {
  std::string content = read_text(file, kMaxFileBytes), kept;
  std::string_view rest = content;
  for (auto before = rest; auto event = take_record(rest); before = rest)
    if (step_of(*event) <= last_step) kept.append(before.substr(0, before.size() - rest.size()));
  if (kept.size() != content.size()) write_text(file, kept);
}

std::string host_name() {
  char name[256] = "";
  ::gethostname(name, sizeof name - 1);
  for (char& c : name)
    if (c == '/') c = '_';
  return *name ? name : "localhost";
}

/// TensorBoard reads a directory's files in the order of their names: the time comes first. The counter keeps two
/// writers of one second apart.
std::string new_file_name(const std::string& directory) {
  static std::atomic<int> counter{0};
  using namespace std::chrono;
  auto seconds = duration_cast<std::chrono::seconds>(system_clock::now().time_since_epoch()).count();
  return cat(directory, "/", kPrefix, seconds, ".", host_name(), ".", ::getpid(), ".", counter++);
}

}  // namespace

uint32_t crc32c(std::string_view data) {
  static const auto table = make_crc_table();
  uint32_t crc = ~0u;
  for (char c : data) crc = crc >> 8 ^ table[(crc ^ static_cast<unsigned char>(c)) & 0xFF];
  return ~crc;
}

TensorBoardWriter::TensorBoardWriter(const std::string& directory)
    : file_(new_file_name(directory), AppendedFile::Open::new_file) {
  std::string version = event_head(0);
  put_bytes(version, 3, "brain.Event:2");
  add(version);
  flush();
}

TensorBoardWriter::~TensorBoardWriter() {
  try {
    flush();
  } catch (const RunError&) {  // the run is ending; who needs to know flushes before
  }
}

void TensorBoardWriter::scalar(const std::string& tag, int64_t step, double value) {
  std::string out;
  put_bytes(out, 1, tag);
  put_key(out, 2, fixed32), put_raw(out, static_cast<float>(value));
  add(summary_event(step, out));
}

void TensorBoardWriter::text(const std::string& tag, int64_t step, const std::string& text) {
  std::string plugin, metadata, out;
  put_bytes(plugin, 1, "text");
  put_bytes(metadata, 1, plugin);
  put_bytes(out, 1, tag), put_bytes(out, 8, string_tensor(text)), put_bytes(out, 9, metadata);
  add(summary_event(step, out));
}

void TensorBoardWriter::add(const std::string& event) {
  waiting_ += record(event);
  if (waiting_.size() >= kFlushBytes) flush();
}

void TensorBoardWriter::flush() {
  std::string now;
  now.swap(waiting_);  // what fails half-way is not written twice
  file_.append(now);
}

void keep_events(const std::string& directory, int64_t last_step) {
  std::error_code error;
  std::vector<std::string> files;
  for (const auto& entry : fs::directory_iterator(directory, error))
    if (entry.is_regular_file() && entry.path().filename().string().rfind(kPrefix, 0) == 0)
      files.push_back(entry.path().string());
  if (error) run_failed(directory, "the directory can't be read: ", error.message());
  for (const auto& file : files) keep_file(file, last_step);
}

}  // namespace rft
