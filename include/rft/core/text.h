#pragma once
/// Small text helpers that every room needs.
#include <string>
#include <string_view>
#include <vector>

namespace rft {

/// The candidate closest to `given` by edit distance, or "" where none is within a third of its length (at least 2).
std::string nearest(std::string_view given, const std::vector<std::string>& candidates);

/// join({"a", "b"}, ", ") is "a, b".
std::string join(const std::vector<std::string>& parts, std::string_view separator);

/// split("a,b,", ',') is {"a", "b", ""}; of "" {""}.
std::vector<std::string> split(std::string_view text, char at);

/// "; did you mean 'x'?" or, where nothing is near, "; known: a, b, c".
std::string suggestion(std::string_view given, const std::vector<std::string>& candidates);

}  // namespace rft
