#include "text/byte_level.h"

#include <array>

#include "text/utf8.h"

namespace rft::text {
namespace {

/// Printable Latin-1 stands for itself; the other 68 bytes are U+0100, U+0101, ... in order.
struct Alphabet {
  std::array<std::string, 256> character;
  std::array<int, 0x144> byte;

  Alphabet() {
    byte.fill(-1);
    char32_t next = 0x100;
    for (int b = 0; b < 256; ++b) {
      bool printable = (b >= '!' && b <= '~') || (b >= 0xA1 && b <= 0xAC) || b >= 0xAE;
      char32_t code = printable ? static_cast<char32_t>(b) : next++;
      append_code(character[b], code);
      byte[code] = b;
    }
  }
};

const Alphabet& alphabet() {
  static const Alphabet instance;
  return instance;
}

}  // namespace

const std::string& character_of(unsigned char byte) { return alphabet().character[byte]; }

int byte_of(char32_t code) { return code < alphabet().byte.size() ? alphabet().byte[code] : -1; }

std::string bytes_of_token(std::string_view token) {
  std::string out;
  for (size_t i = 0; i < token.size();) {
    Decoded next = decode_at(token, i);
    int byte = byte_of(next.code);
    if (byte < 0) return std::string(token);
    out.push_back(static_cast<char>(byte));
    i += next.size;
  }
  return out;
}

}  // namespace rft::text
