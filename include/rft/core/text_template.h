#pragma once
/// A text with names in braces, such as 'Is {completion} right?'.
#include <functional>
#include <string>
#include <vector>

namespace rft {

class TextTemplate {
 public:
  /// A brace without its like is text.
  explicit TextTemplate(const std::string& text);

  /// Those in braces, in order, as often as they stand there.
  std::vector<std::string> names() const;
  bool has(const std::string& name) const;
  /// The text with `value(name)` in each name's place.
  std::string fill(const std::function<std::string(const std::string& name)>& value) const;

 private:
  /// Literal text, and the name of what follows it ("" at the end).
  struct Part {
    std::string literal, name;
  };
  std::vector<Part> parts_;
};

}  // namespace rft
