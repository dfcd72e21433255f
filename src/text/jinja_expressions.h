#pragma once
/// The part of the parser that reads expressions.
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "rft/core/error.h"
#include "text/jinja_lexer.h"
#include "text/jinja_syntax.h"

namespace rft::jinja {

/// Levels of nesting that a template may have.
inline constexpr int kDeepestTree = 200;

/// Expressions, as Jinja2's own parser orders them.
class ExpressionParser {
 public:
  ExpressionParser(std::vector<Token> tokens, const std::string& where) : tokens_(std::move(tokens)), where_(where) {}

 protected:
  const Token& now() const { return tokens_[at_]; }
  const Token& next() { return tokens_[at_ + 1 < tokens_.size() ? at_++ : at_]; }
  [[noreturn]] void fail(const std::string& message) const {
    bad_input(where_ + ":" + std::to_string(now().line), message);
  }
  bool is_sign(const char* sign) const { return now().kind == Token::Kind::sign && now().text == sign; }
  bool is_name(const char* name) const { return now().kind == Token::Kind::name && now().text == name; }
  bool skip_sign(const char* sign) { return is_sign(sign) && (next(), true); }
  bool skip_name(const char* name) { return is_name(name) && (next(), true); }
  std::string shown() const {
    static const char* ends[] = {"text", "{{", "}}", "{%", "%}"};
    auto kind = static_cast<size_t>(now().kind);
    return now().kind == Token::Kind::end ? "the template's end" : kind < 5 ? ends[kind] : "'" + now().text + "'";
  }
  void expect_sign(const char* sign) {
    if (!skip_sign(sign)) fail(std::string("expected '") + sign + "', got " + shown());
  }
  std::string expect_name(const char* what) {
    if (now().kind != Token::Kind::name) fail(std::string("expected ") + what + ", got " + shown());
    return next().text;
  }

  ExpressionPointer make(Expression::Kind kind, std::string text = "") const {
    auto out = std::make_unique<Expression>();
    out->kind = kind, out->line = now().line, out->text = std::move(text);
    return out;
  }
  template <class... Children>
  ExpressionPointer make(Expression::Kind kind, std::string text, Children... children) const {
    auto out = make(kind, std::move(text));
    (out->children.push_back(std::move(children)), ...);
    return out;
  }

  /// a, b, ... as a tuple; one alone as itself.
  ExpressionPointer tuple(bool with_condition = true);
  ExpressionPointer expression();
  ExpressionPointer or_();

 private:
  /// Nesting is bounded, so that a hostile template can't exhaust the stack.
  struct Depth {
    explicit Depth(ExpressionParser& parser) : parser_(parser) {
      if (++parser_.depth_ > kDeepestTree)
        parser_.fail("expressions may nest at most " + std::to_string(kDeepestTree) + " deep");
    }
    ~Depth() { --parser_.depth_; }
    ExpressionParser& parser_;
  };

  ExpressionPointer and_();
  ExpressionPointer not_();
  /// a < b < c is a < b and b < c; the middle is evaluated twice, which has no effects here.
  ExpressionPointer compare();
  ExpressionPointer sum();
  ExpressionPointer concatenation();
  ExpressionPointer product();
  ExpressionPointer power();
  ExpressionPointer unary(bool with_filters);

  ExpressionPointer primary();
  ExpressionPointer list();
  ExpressionPointer map();

  ExpressionPointer postfix(ExpressionPointer out);
  ExpressionPointer subscript(ExpressionPointer of);

 protected:
  /// (a, b, name=c)
  void arguments(Expression& into);
  /// `out` | name(...) | ..., and `is` tests.
  ExpressionPointer filters(ExpressionPointer out);
  ExpressionPointer filter(ExpressionPointer of);

 private:
  ExpressionPointer test(ExpressionPointer of);

 protected:
  std::vector<Token> tokens_;
  std::string where_;
  size_t at_ = 0;
  int depth_ = 0;
};

}  // namespace rft::jinja
