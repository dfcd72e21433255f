#pragma once
/// GPT-2's alphabet: every byte is one printable character, so that a vocabulary of texts can hold any bytes.
#include <string>
#include <string_view>

namespace rft::text {

/// The character that stands for `byte`.
const std::string& character_of(unsigned char byte);
/// The byte that a character stands for, or -1.
int byte_of(char32_t code);
/// The bytes that a token's characters stand for; a token with any other character is itself.
std::string bytes_of_token(std::string_view token);

}  // namespace rft::text
