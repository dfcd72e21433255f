#pragma once
/// Checkpoints: directories checkpoints/step-N that appear whole or not at all, with a checksum of every file.
#include <functional>
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

/// True where manifest.json is there and every file has its size and checksum; otherwise `why` says what is wrong.
bool verify_directory(const std::string& directory, std::string* why = nullptr);

/// The newest whole step-N under run_directory/checkpoints, or nullopt. Damaged ones are reported and passed over.
std::optional<std::string> newest_checkpoint(const std::string& run_directory);

/// Points checkpoints/latest to step-N (atomically) and removes all but the newest `keep` whole ones (0 = none
/// removed).
void publish_checkpoint(const std::string& run_directory, int64_t step, int64_t keep);

/// State as `file` (safetensors). Loading copies, so that the file may be removed afterwards.
void save_state(const std::string& file, const State& state);
State load_state_file(const std::string& file);

/// An Experience as `stem`.safetensors and `stem`.json (texts, totals), bit for bit.
void save_experience(const std::string& stem, const Experience& batch);
Experience load_experience(const std::string& stem);

}  // namespace rft
