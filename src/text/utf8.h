#pragma once
/// UTF-8, one code point at a time.
#include <string>
#include <string_view>

namespace rft::text {

inline constexpr std::string_view kReplacement = "\xEF\xBF\xBD";  // U+FFFD

struct Decoded {
  char32_t code;  ///< U+FFFD where the bytes are invalid
  int size;       ///< bytes taken, at least 1
  bool valid;
  bool cut;  ///< the bytes are the beginning of a character and the text ends there
};

/// The character at text[at] (at < text.size()); where it is invalid, the longest part of it that could have begun one
/// (Unicode's recommended practice, "maximal subpart").
Decoded decode_longer(std::string_view text, size_t at);
inline Decoded decode_at(std::string_view text, size_t at) {
  auto lead = static_cast<unsigned char>(text[at]);
  return lead < 0x80 ? Decoded{lead, 1, true, false} : decode_longer(text, at);
}

void append_code(std::string& out, char32_t code);

/// Length in bytes of the valid character that begins with `lead`.
inline int size_of_lead(unsigned char lead) { return lead < 0x80 ? 1 : lead < 0xE0 ? 2 : lead < 0xF0 ? 3 : 4; }

bool is_valid(std::string_view text);
/// Every invalid part replaced by U+FFFD.
std::string replace_invalid(std::string_view text);

/// White_Space.
bool is_space(char32_t code);

}  // namespace rft::text
