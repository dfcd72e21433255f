#include "text/charsmap.h"

#include <utf8proc.h>

#include <cstring>

#include "text/utf8.h"

namespace rft::text {
namespace {

constexpr size_t kLongGrapheme = 6;

std::string from_base64(const std::string& text, const Spec& spec) {
  static constexpr std::string_view kDigits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  std::string out;
  uint32_t bits = 0;
  int count = 0;
  for (char c : text) {
    if (c == '=') break;
    size_t digit = kDigits.find(c);
    if (digit == std::string_view::npos) spec.refuse("must be base64; it has the character '", c, "'");
    bits = bits << 6 | static_cast<uint32_t>(digit), count += 6;
    if (count >= 8) count -= 8, out += static_cast<char>(bits >> count & 0xFF);
  }
  return out;
}

/// The end of the extended grapheme cluster (Unicode annex 29) that begins at `begin`.
size_t end_of_grapheme(std::string_view text, size_t begin) {
  Decoded before = decode_at(text, begin);
  size_t end = begin + static_cast<size_t>(before.size);
  utf8proc_int32_t state = 0;
  while (end < text.size()) {
    Decoded next = decode_at(text, end);
    if (utf8proc_grapheme_break_stateful(static_cast<utf8proc_int32_t>(before.code),
                                         static_cast<utf8proc_int32_t>(next.code), &state))
      break;
    end += static_cast<size_t>(next.size), before = next;
  }
  return end;
}

uint32_t offset_of(uint32_t unit) { return unit >> 10 << ((unit & 1u << 9) >> 6); }
uint32_t label_of(uint32_t unit) { return unit & (1u << 31 | 0xFF); }
bool has_leaf(uint32_t unit) { return unit >> 8 & 1; }
uint32_t value_of(uint32_t unit) { return unit & ~(1u << 31); }

}  // namespace

Charsmap::Charsmap(const Spec& spec) {
  Spec map = spec.at("precompiled_charsmap");
  std::string bytes = from_base64(map.as_text(), map);
  uint32_t size = 0;
  if (bytes.size() < 4) map.refuse("is too short");
  std::memcpy(&size, bytes.data(), 4);
  if (size % 4 || size < 4 || size > bytes.size() - 4)
    map.refuse("has a trie of ", size, " bytes, which it can't hold");
  trie_.resize(size / 4);
  std::memcpy(trie_.data(), bytes.data() + 4, size);
  replacements_ = bytes.substr(4 + size);
  if (!is_valid(replacements_)) map.refuse("must hold valid UTF-8");
}

/// Of the shortest prefix that the table has.
std::optional<std::string_view> Charsmap::replacement(std::string_view text) const {
  auto unit = [&](uint32_t at) { return at < trie_.size() ? trie_[at] : 1u << 31; };  // a label that no byte is
  uint32_t at = offset_of(trie_[0]);
  for (char c : text) {
    auto byte = static_cast<unsigned char>(c);
    if (byte == 0) return std::nullopt;
    at ^= byte;
    uint32_t found = unit(at);
    if (label_of(found) != byte) return std::nullopt;
    at ^= offset_of(found);
    if (!has_leaf(found)) continue;
    uint32_t begin = value_of(unit(at));
    if (begin >= replacements_.size()) return std::nullopt;
    std::string_view rest = std::string_view(replacements_).substr(begin);
    return rest.substr(0, rest.find('\0'));
  }
  return std::nullopt;
}

std::string Charsmap::operator()(const std::string& text) const {
  std::string out;
  for (size_t begin = 0, end; begin < text.size(); begin = end) {
    end = end_of_grapheme(text, begin);
    std::string_view grapheme = std::string_view(text).substr(begin, end - begin);
    if (grapheme.size() < kLongGrapheme)
      if (auto found = replacement(grapheme)) {
        out += *found;
        continue;
      }
    for (size_t i = 0, size; i < grapheme.size(); i += size) {
      size = static_cast<size_t>(decode_at(grapheme, i).size);
      std::string_view character = grapheme.substr(i, size);
      out += replacement(character).value_or(character);
    }
  }
  return out;
}

}  // namespace rft::text
