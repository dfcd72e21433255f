#include <array>
#include <utility>

#include "reward/math_value.h"

namespace rft::math {
namespace {

constexpr size_t kMaxLength = 4096;  // what follows is quadratic in the length

void replace_all(std::string& text, const std::string& from, const std::string& to) {
  for (size_t at = 0; (at = text.find(from, at)) != std::string::npos; at += to.size())
    text.replace(at, from.size(), to);
}

/// The index behind the brace that closes the one at `open`, or npos.
size_t behind_brace(const std::string& text, size_t open) {
  int depth = 0;
  for (size_t i = open; i < text.size(); ++i) {
    if (text[i] == '{') ++depth;
    if (text[i] == '}' && --depth == 0) return i + 1;
  }
  return std::string::npos;
}

/// \text{ cm}: its words stay, so that a unit is still a unit and a word answer a word.
void unwrap(std::string& text, const std::string& command) {
  for (size_t at = 0; (at = text.find(command + "{", at)) != std::string::npos;) {
    size_t open = at + command.size(), end = behind_brace(text, open);
    if (end == std::string::npos) return;
    text = text.substr(0, at) + " " + text.substr(open + 1, end - open - 2) + " " + text.substr(end);
  }
}

/// \frac12 and \sqrt3 stand for \frac{1}{2} and \sqrt{3}.
void brace_arguments(std::string& text, const std::string& command, int count) {
  for (size_t at = 0; (at = text.find(command, at)) != std::string::npos;) {
    at += command.size();
    for (int i = 0; i < count && at < text.size(); ++i) {
      while (at < text.size() && text[at] == ' ') text.erase(at, 1);
      if (at >= text.size() || text[at] == '\\' || text[at] == '[') break;
      if (text[at] == '{') {
        at = behind_brace(text, at);
        if (at == std::string::npos) return;
      } else {
        text = text.substr(0, at) + "{" + text.substr(at, 1) + "}" + text.substr(at + 1);
        at += 3;
      }
    }
  }
}

}  // namespace

std::string normalized(const std::string& given) {
  if (given.size() > kMaxLength) return "";
  std::string text = given;
  static const std::array<std::pair<const char*, const char*>, 30> kReplacements = {
      {{"\xe2\x88\x92", "-"}, {"\xc2\xa0", " "},
       {"\xc2\xb7", "*"},     {"\xc3\x97", "*"},
       {"\xc3\xb7", "/"},     {"\xcf\x80", "\\pi "},
       {"\xc2\xb0", ""},      {"\\dfrac", "\\frac"},
       {"\\tfrac", "\\frac"}, {"\\cfrac", "\\frac"},
       {"\\left", ""},        {"\\right", ""},
       {"\\!", ""},           {"\\,", " "},
       {"\\;", " "},          {"\\:", " "},
       {"\\ ", " "},          {"\\quad", " "},
       {"\\$", ""},           {"$", ""},
       {"\\%", "%"},          {"^{\\circ}", ""},
       {"^\\circ", ""},       {"\\circ", ""},
       {"\\cdot", "*"},       {"\\times", "*"},
       {"\\div", "/"},        {"\\infty", "infinity"},
       {"{,}", ","},          {"~", " "}}};
  for (const auto& [from, to] : kReplacements) replace_all(text, from, to);
  for (const char* command :
       {"\\text", "\\mathrm", "\\textbf", "\\mathbf", "\\mbox", "\\operatorname", "\\boxed", "\\fbox"})
    unwrap(text, command);
  brace_arguments(text, "\\frac", 2), brace_arguments(text, "\\sqrt", 1);
  size_t begin = text.find_first_not_of(" \t\r\n"), end = text.find_last_not_of(" \t\r\n.;,:!?");
  return begin == std::string::npos || end == std::string::npos || end < begin ? ""
                                                                               : text.substr(begin, end - begin + 1);
}

}  // namespace rft::math
