#include "rft/core/text.h"

#include <algorithm>
#include <numeric>

namespace rft {
namespace {

size_t edit_distance(std::string_view a, std::string_view b) {
  std::vector<size_t> row(b.size() + 1);
  std::iota(row.begin(), row.end(), size_t{0});
  for (size_t i = 1; i <= a.size(); ++i) {
    size_t diagonal = row[0];
    row[0] = i;
    for (size_t j = 1; j <= b.size(); ++j) {
      size_t substituted = diagonal + (a[i - 1] != b[j - 1]);
      diagonal = row[j];
      row[j] = std::min({row[j] + 1, row[j - 1] + 1, substituted});
    }
  }
  return row.back();
}

}  // namespace

std::string nearest(std::string_view given, const std::vector<std::string>& candidates) {
  std::string best;
  size_t limit = std::max<size_t>(2, given.size() / 3), distance = limit + 1;
  for (const auto& candidate : candidates) {
    size_t d = edit_distance(given, candidate);
    if (d < distance) distance = d, best = candidate;
  }
  return best;
}

std::string join(const std::vector<std::string>& parts, std::string_view separator) {
  std::string out;
  for (const auto& part : parts) {
    if (&part != &parts.front()) out += separator;
    out += part;
  }
  return out;
}

std::vector<std::string> split(std::string_view text, char at) {
  std::vector<std::string> out{""};
  for (char c : text) {
    if (c == at)
      out.emplace_back();
    else
      out.back() += c;
  }
  return out;
}

std::string suggestion(std::string_view given, const std::vector<std::string>& candidates) {
  std::string near = nearest(given, candidates);
  return near.empty() ? "; known: " + join(candidates, ", ") : "; did you mean '" + near + "'?";
}

}  // namespace rft
