#include "rft/io/files.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <system_error>
#include <utility>

#include "rft/core/error.h"
#include "rft/io/deferred_sync.h"

namespace fs = std::filesystem;

namespace rft {
namespace {

/// A file descriptor that is closed with its object.
class Descriptor {
 public:
  explicit Descriptor(int fd) : fd_(fd) {}
  ~Descriptor() {
    if (fd_ >= 0) ::close(fd_);
  }
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  int get() const { return fd_; }
  /// Closes now; false where the system reports a late write error.
  bool close() { return ::close(std::exchange(fd_, -1)) == 0; }

 private:
  int fd_;
};

std::string reason() { return std::strerror(errno); }

void write_all(int fd, std::string_view content, const std::string& file) {
  size_t done = 0;
  while (done < content.size()) {
    ssize_t n = ::write(fd, content.data() + done, content.size() - done);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) run_failed(file, "the file can't be written: ", reason());
    done += static_cast<size_t>(n);
  }
}

/// A pipe or a device can't be replaced by a rename: it is written in place. /dev/stdout is one even where it leads to
/// a file. /dev/shm is a file system in memory.
bool is_stream(const std::string& file) {
  if ((file.starts_with("/dev/") && !file.starts_with("/dev/shm/")) || file.starts_with("/proc/")) return true;
  struct stat info;
  return ::stat(file.c_str(), &info) == 0 && !S_ISREG(info.st_mode) && !S_ISDIR(info.st_mode);
}

void write_stream(const std::string& file, const std::vector<std::string_view>& pieces) {
  Descriptor out(::open(file.c_str(), O_WRONLY | O_CLOEXEC));
  if (out.get() < 0) run_failed(file, "the file can't be opened for writing: ", reason());
  for (auto piece : pieces) write_all(out.get(), piece, file);
}

/// A name beside `file` that no other process or thread of this machine uses.
std::string temporary_name(const std::string& file) {
  static std::atomic<uint64_t> counter{0};
  return cat(file, ".tmp-", ::getpid(), "-", counter++);
}

thread_local bool sync_is_deferred = false;

void write_synced(const std::string& file, const std::vector<std::string_view>& pieces,
                  const std::string& name_in_errors) {
  Descriptor out(::open(file.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666));
  if (out.get() < 0) run_failed(name_in_errors, "the file can't be made: ", reason());
  for (auto piece : pieces) write_all(out.get(), piece, name_in_errors);
  bool there = sync_is_deferred || ::fsync(out.get()) == 0;
  if (!there || !out.close()) run_failed(name_in_errors, "the file can't be written: ", reason());
}

}  // namespace

DeferredSync::DeferredSync() : outer_(std::exchange(sync_is_deferred, true)) {}
DeferredSync::~DeferredSync() { sync_is_deferred = outer_; }

std::string read_text(const std::string& file, size_t limit) {
  Descriptor in(::open(file.c_str(), O_RDONLY | O_CLOEXEC));
  if (in.get() < 0) bad_input(file, "the file can't be read: ", reason());
  struct stat info;
  if (::fstat(in.get(), &info) != 0) bad_input(file, "the file can't be read: ", reason());
  if (S_ISDIR(info.st_mode)) bad_input(file, "a file is needed; got a directory");
  std::string content;
  auto too_large = [&] { bad_input(file, "the file may have at most ", limit, " bytes; it has more"); };
  if (info.st_size > 0) {
    if (static_cast<size_t>(info.st_size) > limit) too_large();
    content.reserve(static_cast<size_t>(info.st_size));
  }
  char chunk[1 << 16];
  while (true) {
    ssize_t n = ::read(in.get(), chunk, sizeof chunk);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) bad_input(file, "the file can't be read: ", reason());
    if (n == 0) return content;
    if (content.size() + static_cast<size_t>(n) > limit) too_large();
    content.append(chunk, static_cast<size_t>(n));
  }
}

void write_text(const std::string& file, const std::string& content) { write_pieces(file, {content}); }

void write_pieces(const std::string& file, const std::vector<std::string_view>& pieces) {
  if (is_stream(file)) return write_stream(file, pieces);
  std::string temporary = temporary_name(file);
  try {
    write_synced(temporary, pieces, file);
    if (::rename(temporary.c_str(), file.c_str()) != 0) run_failed(file, "the file can't be put in place: ", reason());
  } catch (...) {
    ::unlink(temporary.c_str());
    throw;
  }
  if (sync_is_deferred) return;
  fs::path parent = fs::path(file).parent_path();
  sync_directory(parent.empty() ? "." : parent.string());
}

bool file_exists(const std::string& path) {
  std::error_code ignored;
  return fs::exists(path, ignored) && !fs::is_directory(path, ignored);
}

bool directory_exists(const std::string& path) {
  std::error_code ignored;
  return fs::is_directory(path, ignored);
}

void make_directories(const std::string& path) {
  std::error_code error;
  fs::create_directories(path, error);
  if (error) run_failed(path, "the directory can't be made: ", error.message());
  if (!directory_exists(path)) run_failed(path, "the directory can't be made: a file has that name");
}

std::string path_inside(const std::string& directory, const std::string& name, const std::string& where) {
  auto refuse = [&](const char* why) {
    bad_input(where, "a file name must stay inside ", directory, "; '", name, "' ", why);
  };
  fs::path path(name);
  if (name.empty() || name.find('\0') != std::string::npos) refuse("is not a file name");
  if (path.is_absolute()) refuse("is an absolute path");
  for (const auto& part : path)
    if (part == "..") refuse("goes up with '..'");
  std::error_code error;
  fs::path root = fs::weakly_canonical(directory, error);
  fs::path target = error ? fs::path() : fs::weakly_canonical(fs::path(directory) / path, error);
  if (error) refuse("can't be followed");
  fs::path relative = target.lexically_relative(root);
  if (relative.empty() || *relative.begin() == "..") refuse("is a link that leads out of it (copy with cp -L)");
  return (fs::path(directory) / path).string();
}

void sync_directory(const std::string& path) {
  Descriptor directory(::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (directory.get() < 0) run_failed(path, "the directory can't be opened: ", reason());
  // Some file systems (network mounts) can't sync a directory and say EINVAL; the rename stands there all the same.
  if (::fsync(directory.get()) != 0 && errno != EINVAL && errno != ENOTSUP)
    run_failed(path, "the directory can't be written: ", reason());
}

}  // namespace rft
