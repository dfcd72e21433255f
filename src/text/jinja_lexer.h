#pragma once
/// A template cut into its texts, and the tokens of its tags.
#include <string>
#include <vector>

namespace rft::jinja {

struct Token {
  enum class Kind { text, print_begin, print_end, block_begin, block_end, name, integer, number, string, sign, end };
  Kind kind;
  std::string text;
  int line;
};

/// As Jinja2 with trim_blocks and lstrip_blocks. Throws UserError with `where` and the line.
std::vector<Token> tokens_of(std::string source, const std::string& where);

}  // namespace rft::jinja
