#pragma once
/// Checkpoints: directories checkpoints/step-N that appear whole or not at all, with a checksum of every file.
#include <functional>
#include <future>
#include <optional>
#include <string>

#include "rft/core/experience.h"
#include "rft/core/state.h"

namespace rft {

/// Writes `parent`/`name`: `fill` is given a temporary directory, whose files are then synced, listed with size and
/// XXH3 in manifest.json, and renamed into place. An existing directory of that name is replaced. Throws RunError; what
/// was there before stays.
void write_directory_atomically(const std::string& parent, const std::string& name,
                                const std::function<void(const std::string& directory)>& fill);

/// Writes directories as write_directory_atomically does, if need be with the slow half (until files are on the disk,
/// and their checksums) on a thread of its own: what `fill` wrote is in the system's file cache by then, and may change
/// in memory.
class DirectoryWriter {
 public:
  ~DirectoryWriter();
  /// Fills the directory, and publishes it, then calls `then`: at once, or `in_background`, where a failure is thrown
  /// by the next call of any of these functions. One is written at a time.
  void write(const std::string& parent, const std::string& name,
             const std::function<void(const std::string& directory)>& fill, const std::function<void()>& then,
             bool in_background);
  /// Throws RunError where what was written in the background failed.
  void check();
  /// The same, once it is done.
  void wait();

 private:
  std::future<void> writing_;
};

/// True where manifest.json is there and every file has its size and checksum; otherwise `why` says what is wrong.
bool verify_directory(const std::string& directory, std::string* why = nullptr);

/// The newest whole step-N under run_directory/checkpoints, or nullopt. Damaged ones are reported and passed over.
std::optional<std::string> newest_checkpoint(const std::string& run_directory);

/// Points checkpoints/latest to step-N (atomically) and removes all but the newest `keep` whole ones (0 = none
/// removed) and those whose step is a multiple of `keep_every` (0 = none of them).
void publish_checkpoint(const std::string& run_directory, int64_t step, int64_t keep, int64_t keep_every = 0);

/// State as `file` (safetensors). Loading copies, so that the file may be removed afterwards.
void save_state(const std::string& file, const State& state);
State load_state_file(const std::string& file);

/// An Experience as `stem`.safetensors and `stem`.json (texts, totals), bit for bit.
void save_experience(const std::string& stem, const Experience& batch);
Experience load_experience(const std::string& stem);

}  // namespace rft
