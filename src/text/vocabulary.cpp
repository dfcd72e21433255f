#include "rft/text/vocabulary.h"

#include <algorithm>

#include "rft/core/error.h"
#include "rft/io/files.h"

namespace rft {
namespace {

constexpr size_t kMaxBytes = size_t{16} << 20;

/// Bytes of the UTF-8 character that starts here; 1 for a byte that starts none.
size_t character_bytes(unsigned char lead) {
  if (lead >= 0xF0) return 4;
  if (lead >= 0xE0) return 3;
  return lead >= 0xC0 ? 2 : 1;
}

}  // namespace

Vocabulary Vocabulary::load(const std::string& directory) {
  Vocabulary out;
  out.where_ = directory + "/vocab.txt";
  std::string text = read_text(out.where_, kMaxBytes);
  while (!text.empty() && text.back() == '\n') text.pop_back();
  for (size_t at = 0; at <= text.size();) {
    size_t end = std::min(text.find('\n', at), text.size());
    std::string token = text.substr(at, end - at);
    if (!token.empty() && token.back() == '\r') token.pop_back();
    std::string line = cat(out.where_, ":", out.tokens_.size() + 1);
    if (token.empty()) bad_input(line, "a token is needed in every line");
    if (!out.ids_.emplace(token, out.size()).second) bad_input(line, "the token '", token, "' is there already");
    out.tokens_.push_back(std::move(token));
    at = end + 1;
  }
  return out;
}

std::vector<int64_t> Vocabulary::encode(std::string_view text, const std::string& where) const {
  std::vector<int64_t> out;
  for (size_t at = 0; at < text.size();) {
    size_t bytes = character_bytes(static_cast<unsigned char>(text[at]));
    if (size_t end = text[at] == '<' ? text.find('>', at) : std::string_view::npos; end != std::string_view::npos)
      if (id(text.substr(at, end + 1 - at)) >= 0) bytes = end + 1 - at;
    std::string_view token = text.substr(at, bytes);
    int64_t found = id(token);
    if (found < 0) bad_input(where, "'", token, "' is not in ", where_);
    out.push_back(found);
    at += token.size();
  }
  return out;
}

std::string Vocabulary::decode(const std::vector<int64_t>& ids, bool skip_special) const {
  std::string out;
  for (int64_t id : ids)
    if (!skip_special || !is_special(id)) out += token(id);
  return out;
}

int64_t Vocabulary::id(std::string_view token) const {
  auto found = ids_.find(token);
  return found == ids_.end() ? -1 : found->second;
}

const std::string& Vocabulary::token(int64_t id) const {
  if (id < 0 || id >= size()) bad_input(where_, "ids are in 0 .. ", size() - 1, "; got ", id);
  return tokens_[static_cast<size_t>(id)];
}

bool Vocabulary::is_special(int64_t id) const {
  const std::string& name = token(id);
  return name.size() > 2 && name.front() == '<' && name.back() == '>';
}

}  // namespace rft
