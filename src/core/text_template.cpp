#include "rft/core/text_template.h"

#include <algorithm>

namespace rft {

TextTemplate::TextTemplate(const std::string& text) {
  for (size_t at = 0;;) {
    size_t open = text.find('{', at), close = text.find('}', open);
    if (open == std::string::npos || close == std::string::npos) {
      parts_.push_back({text.substr(at), ""});
      break;
    }
    parts_.push_back({text.substr(at, open - at), text.substr(open + 1, close - open - 1)});
    at = close + 1;
  }
}

std::vector<std::string> TextTemplate::names() const {
  std::vector<std::string> out;
  for (const Part& part : parts_)
    if (!part.name.empty()) out.push_back(part.name);
  return out;
}

bool TextTemplate::has(const std::string& name) const {
  return std::any_of(parts_.begin(), parts_.end(), [&](const Part& part) { return part.name == name; });
}

std::string TextTemplate::fill(const std::function<std::string(const std::string& name)>& value) const {
  std::string out;
  for (const Part& part : parts_) {
    out += part.literal;
    if (!part.name.empty()) out += value(part.name);
  }
  return out;
}

}  // namespace rft
