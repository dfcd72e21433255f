#include "rft/train/checkpoint.h"

#include <fcntl.h>
#include <unistd.h>
#include <xxhash.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <vector>

#include "rft/core/error.h"
#include "rft/core/log.h"
#include "rft/io/deferred_sync.h"
#include "rft/io/files.h"

namespace rft {
namespace fs = std::filesystem;
namespace {

constexpr char kManifest[] = "manifest.json";

std::string checksum(const std::string& file) {
  std::ifstream in(file, std::ios::binary);
  if (!in) return "unreadable";
  std::unique_ptr<XXH3_state_t, decltype(&XXH3_freeState)> state(XXH3_createState(), &XXH3_freeState);
  XXH3_64bits_reset(state.get());
  std::vector<char> buffer(1 << 20);
  while (in.read(buffer.data(), static_cast<std::streamsize>(buffer.size())), in.gcount() > 0)
    XXH3_64bits_update(state.get(), buffer.data(), static_cast<size_t>(in.gcount()));
  char text[17];
  std::snprintf(text, sizeof text, "%016llx", static_cast<unsigned long long>(XXH3_64bits_digest(state.get())));
  return text;
}

void sync_file(const std::string& file) {
  int fd = ::open(file.c_str(), O_RDONLY);
  if (fd < 0 || ::fsync(fd) != 0) {
    int reason = errno;
    if (fd >= 0) ::close(fd);
    run_failed(file, "could not be written to disk: ", std::strerror(reason));
  }
  ::close(fd);
}

void seal(const std::string& directory) {
  nlohmann::json files = nlohmann::json::object();
  for (const auto& entry : fs::recursive_directory_iterator(directory)) {
    if (entry.is_directory()) sync_directory(entry.path().string());
    if (!entry.is_regular_file()) continue;
    sync_file(entry.path().string());
    files[fs::relative(entry.path(), directory).string()] = {{"bytes", entry.file_size()},
                                                             {"xxh3", checksum(entry.path().string())}};
  }
  write_text(directory + "/" + kManifest, nlohmann::json{{"files", files}}.dump(1) + "\n");
  sync_directory(directory);
}

/// (step, path) of every step-N, newest first.
std::vector<std::pair<int64_t, std::string>> checkpoints_of(const std::string& run_directory) {
  std::vector<std::pair<int64_t, std::string>> found;
  std::error_code missing;
  for (const auto& entry : fs::directory_iterator(run_directory + "/checkpoints", missing)) {
    std::string name = entry.path().filename().string();
    if (name.rfind("step-", 0) != 0 || name.find_first_not_of("0123456789", 5) != std::string::npos || name.size() == 5)
      continue;
    found.emplace_back(std::stoll(name.substr(5)), entry.path().string());
  }
  std::sort(found.rbegin(), found.rend());
  return found;
}

/// The names a directory has while it is written, while it takes another's place, and then.
struct Places {
  std::string parent, partial, old, target;
  Places(const std::string& in, const std::string& name)
      : parent(in), partial(in + "/." + name + ".partial"), old(in + "/." + name + ".old"), target(in + "/" + name) {}
};

/// step(), after whose failure nothing is left of the unfinished directory.
void or_nothing(const Places& at, const std::function<void()>& step) {
  std::error_code ignored;
  try {
    step();
  } catch (const fs::filesystem_error& error) {
    fs::remove_all(at.partial, ignored);
    run_failed(at.target, "could not be written: ", error.code().message());
  } catch (...) {
    fs::remove_all(at.partial, ignored);
    throw;
  }
}

void fill_directory(const Places& at, const std::function<void(const std::string&)>& fill) {
  make_directories(at.parent);
  std::error_code ignored;
  fs::remove_all(at.partial, ignored);
  or_nothing(at, [&] {
    make_directories(at.partial);
    DeferredSync until_sealed;
    fill(at.partial);
  });
}

void publish_directory(const Places& at) {
  or_nothing(at, [&] {
    std::error_code ignored;
    seal(at.partial);
    fs::remove_all(at.old, ignored);
    if (fs::exists(at.target)) fs::rename(at.target, at.old);
    fs::rename(at.partial, at.target);
    sync_directory(at.parent);
    fs::remove_all(at.old, ignored);
  });
}

}  // namespace

void write_directory_atomically(const std::string& parent, const std::string& name,
                                const std::function<void(const std::string&)>& fill) {
  Places at(parent, name);
  fill_directory(at, fill);
  publish_directory(at);
}

DirectoryWriter::~DirectoryWriter() {
  if (writing_.valid()) writing_.wait();
}

void DirectoryWriter::check() {
  if (writing_.valid() && writing_.wait_for(std::chrono::seconds(0)) == std::future_status::ready) writing_.get();
}

void DirectoryWriter::wait() {
  if (writing_.valid()) writing_.get();
}

void DirectoryWriter::write(const std::string& parent, const std::string& name,
                            const std::function<void(const std::string&)>& fill, const std::function<void()>& then,
                            bool in_background) {
  wait();
  Places at(parent, name);
  fill_directory(at, fill);
  auto rest = [at, then] {
    publish_directory(at);
    then();
  };
  if (!in_background) return rest();
  writing_ = std::async(std::launch::async, rest);
}

bool verify_directory(const std::string& directory, std::string* why) {
  auto wrong = [&](const std::string& reason) {
    if (why) *why = reason;
    return false;
  };
  std::string manifest = directory + "/" + kManifest;
  if (!file_exists(manifest)) return wrong("there is no manifest.json");
  auto json = nlohmann::json::parse(read_text(manifest), nullptr, false);
  if (!json.is_object() || !json.contains("files") || !json["files"].is_object())
    return wrong("manifest.json is damaged");
  for (const auto& [name, entry] : json["files"].items()) {
    std::string file = directory + "/" + name;
    std::error_code missing;
    auto size = fs::file_size(file, missing);
    if (missing) return wrong(name + " is missing");
    if (!entry.is_object() || entry.value("bytes", uint64_t{0}) != size)
      return wrong(name + " has another size than it was written with");
    if (entry.value("xxh3", "") != checksum(file))
      return wrong(name + " does not have the checksum it was written with");
  }
  return true;
}

std::optional<std::string> newest_checkpoint(const std::string& run_directory) {
  for (const auto& [step, path] : checkpoints_of(run_directory)) {
    std::string why;
    if (verify_directory(path, &why)) return path;
    log::warn(cat("the checkpoint ", path, " is damaged (", why, "); an earlier one is used"));
  }
  return std::nullopt;
}

void publish_checkpoint(const std::string& run_directory, int64_t step, int64_t keep, int64_t keep_every) {
  std::string directory = run_directory + "/checkpoints", link = directory + "/latest",
              partial = directory + "/.latest.partial";
  std::error_code error;
  fs::remove(partial, error);
  fs::create_symlink("step-" + std::to_string(step), partial, error);
  if (!error) fs::rename(partial, link, error);
  if (error) run_failed(link, "could not be written: ", error.message());
  sync_directory(directory);
  auto all = checkpoints_of(run_directory);
  for (size_t i = static_cast<size_t>(keep); keep > 0 && i < all.size(); ++i)
    if (keep_every == 0 || all[i].first % keep_every) fs::remove_all(all[i].second, error);
}

}  // namespace rft
