#pragma once
/// Whole files, atomically, and paths that stay inside their directory.
#include <string>
#include <string_view>
#include <vector>

namespace rft {

/// Throws UserError naming the file where it can't be read, or is larger than `limit` bytes.
std::string read_text(const std::string& file, size_t limit = size_t{1} << 30);
/// Temporary name, write, fsync, rename: the file appears whole or not at all. Throws RunError with the system's
/// reason.
void write_text(const std::string& file, const std::string& content);
/// The same for a file whose pieces lie in several places.
void write_pieces(const std::string& file, const std::vector<std::string_view>& pieces);
bool file_exists(const std::string& path);
bool directory_exists(const std::string& path);
/// Makes `path` and its parents. Throws RunError with the system's reason.
void make_directories(const std::string& path);
/// directory + "/" + name, where name came from a file and must be a plain relative path that does not leave
/// `directory` (no "..", no absolute path, no symlink out of it). Throws UserError.
std::string path_inside(const std::string& directory, const std::string& name, const std::string& where);
void sync_directory(const std::string& path);

}  // namespace rft
