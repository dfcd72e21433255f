#include "text/added_tokens.h"

#include <algorithm>

#include "text/utf8.h"

namespace rft::text {
namespace {

/// The last character of a non-empty text.
std::string_view last_character(std::string_view text) {
  size_t begin = text.size() - 1;
  while (begin > 0 && (static_cast<unsigned char>(text[begin]) & 0xC0) == 0x80) --begin;
  return text.substr(begin);
}

size_t without_space_at_end(std::string_view text) {
  while (!text.empty()) {
    std::string_view last = last_character(text);
    if (!is_space(decode_at(last, 0).code)) break;
    text.remove_suffix(last.size());
  }
  return text.size();
}

size_t space_at_start(std::string_view text) {
  size_t n = 0;
  while (n < text.size()) {
    Decoded next = decode_at(text, n);
    if (!is_space(next.code)) break;
    n += next.size;
  }
  return n;
}

}  // namespace

void Matcher::add(const std::string& text, size_t index) {
  if (text.empty()) return;
  uint32_t node = 0;
  first_[static_cast<unsigned char>(text[0])] = true;
  for (char c : text) {
    auto [entry, made] = next_.try_emplace(uint64_t{node} << 8 | static_cast<unsigned char>(c), nodes_);
    if (made) ++nodes_;
    node = entry->second;
  }
  ends_.try_emplace(node, index);
}

bool Matcher::find(std::string_view text, size_t from, size_t& begin, size_t& end, size_t& index) const {
  for (begin = from; begin < text.size(); ++begin) {
    if (!first_[static_cast<unsigned char>(text[begin])]) continue;
    uint32_t node = 0;
    bool found = false;
    for (size_t i = begin; i < text.size(); ++i) {
      auto next = next_.find(uint64_t{node} << 8 | static_cast<unsigned char>(text[i]));
      if (next == next_.end()) break;
      node = next->second;
      if (auto last = ends_.find(node); last != ends_.end()) found = true, end = i + 1, index = last->second;
    }
    if (found) return true;
  }
  return false;
}

AddedTokens::AddedTokens(const Spec& file, const Model& model, const Normalizer& normalizer)
    : word_(cat("[", kRustWord, "]"), "added_tokens") {
  if (file.has("added_tokens"))
    for (const Spec& item : file.items("added_tokens")) {
      item.integer("id");
      AddedToken token{-1,
                       item.text("content"),
                       item.flag("single_word"),
                       item.flag("lstrip"),
                       item.flag("rstrip"),
                       item.flag("normalized"),
                       item.flag("special"),
                       ""};
      token.shown = token.normalized ? normalizer(token.content) : token.content;
      if (!token.content.empty()) add(std::move(token), model);
    }
  index();
}

void AddedTokens::add(AddedToken token, const Model& model) {
  auto count = static_cast<int64_t>(model.vocabulary().size());
  if (token.special) special_.insert(token.content);
  token.id = id(token.content);
  if (token.id < 0) token.id = model.id(token.content);
  if (token.id < 0) token.id = std::max(last_ + 1, count);
  last_ = std::max(last_, token.id);
  ids_[token.content] = static_cast<int32_t>(token.id);
  by_id_[token.id] = token;
  tokens_.push_back(std::move(token));
}

void AddedTokens::index() {
  for (bool special : {true, false})  // where two have one text, the special one is found
    for (size_t i = 0; i < tokens_.size(); ++i) {
      const AddedToken& token = tokens_[i];
      if (token.special != special) continue;
      (token.normalized ? normalized_ : raw_).add(token.shown, i);
    }
}

std::vector<Stretch> AddedTokens::split(std::string_view text, bool normalized) const {
  const Matcher& matcher = normalized ? normalized_ : raw_;
  std::vector<Stretch> out;
  size_t done = 0, from = 0, begin, end, index;
  while (matcher.find(text, from, begin, end, index)) {
    from = end;
    const AddedToken& token = by_id_.at(tokens_[index].id);
    if (token.single_word) {
      bool inside = (begin > 0 && word_.matches_at_start(last_character(text.substr(0, begin)))) ||
                    (end < text.size() &&
                     word_.matches_at_start(text.substr(end, size_of_lead(static_cast<unsigned char>(text[end])))));
      if (inside) continue;
    }
    if (token.lstrip) begin = std::max(done, without_space_at_end(text.substr(0, begin)));
    if (token.rstrip) end += space_at_start(text.substr(end));
    if (done < begin) out.push_back({done, begin, -1});
    out.push_back({begin, end, token.id});
    done = end;
  }
  if (done < text.size()) out.push_back({done, text.size(), -1});
  return out;
}

int64_t AddedTokens::id(std::string_view content) const {
  auto found = ids_.find(content);
  return found == ids_.end() ? -1 : found->second;
}

}  // namespace rft::text
