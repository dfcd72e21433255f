#include "text/utf8.h"

namespace rft::text {

Decoded decode_longer(std::string_view text, size_t at) {
  auto byte = [&](size_t i) { return static_cast<unsigned char>(text[i]); };
  unsigned char lead = byte(at);
  if (lead < 0xC2 || lead > 0xF4) return {0xFFFD, 1, false, false};
  int size = size_of_lead(lead);
  // The second byte's range is narrower after these, which rules out overlong forms, surrogates and > U+10FFFF.
  unsigned char low = lead == 0xE0 ? 0xA0 : lead == 0xF0 ? 0x90 : 0x80;
  unsigned char high = lead == 0xED ? 0x9F : lead == 0xF4 ? 0x8F : 0xBF;
  char32_t code = lead & (0xFF >> (size + 1));
  for (int i = 1; i < size; ++i) {
    if (at + i >= text.size()) return {0xFFFD, i, false, true};
    unsigned char next = byte(at + i);
    if (next < low || next > high) return {0xFFFD, i, false, false};
    code = code << 6 | (next & 0x3F);
    low = 0x80, high = 0xBF;
  }
  return {code, size, true, false};
}

void append_code(std::string& out, char32_t code) {
  auto put = [&](char32_t byte) { out.push_back(static_cast<char>(byte)); };
  if (code < 0x80) return put(code);
  if (code < 0x800) return put(0xC0 | code >> 6), put(0x80 | (code & 0x3F));
  if (code < 0x10000) return put(0xE0 | code >> 12), put(0x80 | (code >> 6 & 0x3F)), put(0x80 | (code & 0x3F));
  put(0xF0 | code >> 18), put(0x80 | (code >> 12 & 0x3F)), put(0x80 | (code >> 6 & 0x3F)), put(0x80 | (code & 0x3F));
}

bool is_valid(std::string_view text) {
  for (size_t i = 0; i < text.size();) {
    Decoded next = decode_at(text, i);
    if (!next.valid) return false;
    i += next.size;
  }
  return true;
}

std::string replace_invalid(std::string_view text) {
  std::string out;
  out.reserve(text.size());
  for (size_t i = 0; i < text.size();) {
    Decoded next = decode_at(text, i);
    out += next.valid ? text.substr(i, next.size) : kReplacement;
    i += next.size;
  }
  return out;
}

bool is_space(char32_t c) {
  return (c >= 0x9 && c <= 0xD) || c == 0x20 || c == 0x85 || c == 0xA0 || c == 0x1680 || (c >= 0x2000 && c <= 0x200A) ||
         c == 0x2028 || c == 0x2029 || c == 0x202F || c == 0x205F || c == 0x3000;
}

}  // namespace rft::text
