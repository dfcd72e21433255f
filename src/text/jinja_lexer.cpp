#include "text/jinja_lexer.h"

#include <algorithm>
#include <cctype>

#include "rft/core/error.h"
#include "text/utf8.h"

namespace rft::jinja {
namespace {

using TokenKind = Token::Kind;

bool is_blank(char c) { return c == ' ' || c == '\t' || c == '\n' || c == '\r' || c == '\f' || c == '\v'; }

class Lexer {
 public:
  Lexer(std::string source, const std::string& where) : source_(std::move(source)), where_(where) {}

  std::vector<Token> run() {
    while (at_ < source_.size()) {
      size_t tag = next_tag();
      std::string text = source_.substr(at_, tag - at_);
      if (tag == source_.size()) {
        add_text(text);
        break;
      }
      char mark = source_[tag + 1], sign = tag + 2 < source_.size() ? source_[tag + 2] : ' ';
      strip_before(text, mark, sign);
      add_text(text);
      pass(tag + 2 + (sign == '-' || sign == '+') - at_);
      mark == '#' ? skip_comment() : read_tag(mark == '{' ? "}}" : "%}");
    }
    out_.push_back({TokenKind::end, "", line_});
    return std::move(out_);
  }

 private:
  [[noreturn]] void fail(const std::string& message) const { bad_input(where_ + ":" + std::to_string(line_), message); }

  size_t next_tag() const {
    for (size_t at = at_; at + 1 < source_.size(); ++at)
      if (source_[at] == '{' && (source_[at + 1] == '{' || source_[at + 1] == '%' || source_[at + 1] == '#')) return at;
    return source_.size();
  }

  /// What the tag takes away of the text before it: all white space, or of a block what stands before it in its line.
  void strip_before(std::string& text, char mark, char sign) const {
    if (sign == '-') {
      while (!text.empty() && is_blank(text.back())) text.pop_back();
      return;
    }
    if (mark == '{' || sign == '+') return;
    size_t begin = text.rfind('\n');
    begin = begin == std::string::npos ? 0 : begin + 1;
    bool starts_line = begin > 0 || line_starts_;
    if (starts_line && std::all_of(text.begin() + static_cast<int64_t>(begin), text.end(), is_blank))
      text.resize(begin);
  }

  void add_text(const std::string& text) {
    if (!text.empty()) out_.push_back({TokenKind::text, text, line_});
  }

  /// Moves over `count` characters of the source, counting lines.
  void pass(size_t count) {
    line_ += static_cast<int>(std::count(source_.begin() + static_cast<int64_t>(at_),
                                         source_.begin() + static_cast<int64_t>(std::min(at_ + count, source_.size())),
                                         '\n'));
    at_ += count;
  }

  /// After a tag's end, which was `sign` and two characters.
  void strip_after(char sign, bool block) {
    line_starts_ = false;
    if (sign == '-') {
      while (at_ < source_.size() && is_blank(source_[at_])) line_starts_ = source_[at_] == '\n', pass(1);
    } else if (block && sign != '+' && at_ < source_.size() && source_[at_] == '\n') {
      pass(1), line_starts_ = true;
    }
  }

  void skip_comment() {
    size_t end = source_.find("#}", at_);
    if (end == std::string::npos) fail("this comment has no end, #}");
    char sign = end > at_ ? source_[end - 1] : ' ';
    pass(end + 2 - at_);
    strip_after(sign, true);
  }

  void read_tag(const std::string& close) {
    bool block = close == "%}";
    out_.push_back({block ? TokenKind::block_begin : TokenKind::print_begin, "", line_});
    std::string open_brackets;
    while (true) {
      while (at_ < source_.size() && is_blank(source_[at_])) pass(1);
      if (at_ >= source_.size()) fail("this tag has no end, " + close);
      if (open_brackets.empty()) {
        char sign = source_[at_];
        bool marked = (sign == '-' || (sign == '+' && block)) && source_.compare(at_ + 1, 2, close) == 0;
        if (marked || source_.compare(at_, 2, close) == 0) {
          pass(marked ? 3 : 2);
          out_.push_back({block ? TokenKind::block_end : TokenKind::print_end, "", line_});
          strip_after(marked ? sign : ' ', block);
          if (block && out_.size() >= 3 && out_[out_.size() - 2].text == "raw" &&
              out_[out_.size() - 3].kind == TokenKind::block_begin)
            read_raw();
          return;
        }
      }
      read_token(open_brackets);
    }
  }

  /// The text up to {% endraw %}, as it stands.
  void read_raw() {
    out_.resize(out_.size() - 3);
    for (size_t at = at_; (at = source_.find("{%", at)) != std::string::npos; at += 2) {
      size_t inside = at + 2, end = source_.find("%}", at);
      if (end == std::string::npos) break;
      char sign = source_[inside], last = source_[end - 1];
      if (sign == '-' || sign == '+') ++inside;
      std::string word = source_.substr(inside, end - inside - (last == '-' || last == '+'));
      word.erase(std::remove_if(word.begin(), word.end(), is_blank), word.end());
      if (word != "endraw") continue;
      std::string text = source_.substr(at_, at - at_);
      strip_before(text, '%', sign);
      add_text(text);
      pass(end + 2 - at_);
      return strip_after(last, true);
    }
    fail("{% raw %} has no {% endraw %}");
  }

  void read_token(std::string& brackets) {
    char c = source_[at_];
    auto byte = static_cast<unsigned char>(c);
    if (std::isalpha(byte) || c == '_' || byte >= 0x80)
      return take(TokenKind::name, [](char x) {
        return std::isalnum(static_cast<unsigned char>(x)) || x == '_' || static_cast<unsigned char>(x) >= 0x80;
      });
    if (std::isdigit(byte)) return read_number();
    if (c == '\'' || c == '"') return read_string(c);
    for (const char* two : {"//", "**", "==", "!=", "<=", ">="})
      if (source_.compare(at_, 2, two) == 0) return take_sign(2);
    if (std::string("+-*/%~<>=()[]{},.:|").find(c) == std::string::npos)
      fail(std::string("'") + c + "' can't stand here");
    if (std::string("([{").find(c) != std::string::npos) brackets += c;
    if (std::string(")]}").find(c) != std::string::npos) {
      if (brackets.empty()) fail(std::string("'") + c + "' closes nothing");
      brackets.pop_back();
    }
    take_sign(1);
  }

  void take_sign(size_t size) {
    out_.push_back({TokenKind::sign, source_.substr(at_, size), line_});
    pass(size);
  }

  template <class Belongs>
  void take(TokenKind kind, const Belongs& belongs) {
    size_t end = at_;
    while (end < source_.size() && belongs(source_[end])) ++end;
    out_.push_back({kind, source_.substr(at_, end - at_), line_});
    pass(end - at_);
  }

  void read_number() {
    size_t end = at_;
    auto digits = [&] {
      while (end < source_.size() && (std::isdigit(static_cast<unsigned char>(source_[end])) || source_[end] == '_'))
        ++end;
    };
    digits();
    bool whole = true;
    if (end + 1 < source_.size() && source_[end] == '.' && std::isdigit(static_cast<unsigned char>(source_[end + 1])))
      whole = false, ++end, digits();
    if (end < source_.size() && (source_[end] == 'e' || source_[end] == 'E')) {
      size_t mark = end++;
      if (end < source_.size() && (source_[end] == '+' || source_[end] == '-')) ++end;
      if (end < source_.size() && std::isdigit(static_cast<unsigned char>(source_[end])))
        whole = false, digits();
      else
        end = mark;
    }
    std::string text = source_.substr(at_, end - at_);
    text.erase(std::remove(text.begin(), text.end(), '_'), text.end());
    out_.push_back({whole ? TokenKind::integer : TokenKind::number, text, line_});
    pass(end - at_);
  }

  /// Python's escapes.
  void read_string(char quote) {
    std::string text;
    size_t at = at_ + 1;
    auto hex = [&](size_t digits) {
      std::string code = source_.substr(at + 1, digits);
      bool good = code.size() == digits && std::all_of(code.begin(), code.end(), [](char c) {
                    return std::isxdigit(static_cast<unsigned char>(c));
                  });
      if (!good) fail("this escape needs " + std::to_string(digits) + " hexadecimal digits");
      auto value = static_cast<char32_t>(std::stoul(code, nullptr, 16));
      if (value > 0x10ffff || (value >= 0xd800 && value < 0xe000)) value = 0xfffd;
      text::append_code(text, value);
      at += digits;
    };
    for (; at < source_.size() && source_[at] != quote; ++at) {
      if (source_[at] != '\\' || at + 1 >= source_.size()) {
        text += source_[at];
        continue;
      }
      char c = source_[++at];
      static const std::string from = "ntrabfv0\\'\"", to = std::string("\n\t\r\a\b\f\v\0\\'\"", 11);
      size_t known = from.find(c);
      if (c == 'x' || c == 'u' || c == 'U')
        hex(c == 'x' ? 2 : c == 'u' ? 4 : 8);
      else if (known != std::string::npos)
        text += to[known];
      else if (c != '\n')
        text += '\\', text += c;
    }
    if (at >= source_.size()) fail("this text has no end");
    out_.push_back({TokenKind::string, text, line_});
    pass(at + 1 - at_);
  }

  std::string source_, where_;
  size_t at_ = 0;
  int line_ = 1;
  bool line_starts_ = true;
  std::vector<Token> out_;
};

}  // namespace

std::vector<Token> tokens_of(std::string source, const std::string& where) {
  std::string clean;
  for (size_t i = 0; i < source.size(); ++i) {
    if (source[i] == '\r' && i + 1 < source.size() && source[i + 1] == '\n') continue;
    clean += source[i] == '\r' ? '\n' : source[i];
  }
  if (!clean.empty() && clean.back() == '\n') clean.pop_back();  // one at the end is the file's, not the template's
  return Lexer(std::move(clean), where).run();
}

}  // namespace rft::jinja
