#include <algorithm>
#include <charconv>

#include "rft/core/error.h"
#include "text/jinja_lexer.h"
#include "text/jinja_syntax.h"

namespace rft::jinja {
namespace {

using ExpressionKind = Expression::Kind;
using TokenKind = Token::Kind;
constexpr size_t kLargest = size_t{1} << 20;
constexpr int kDeepestTree = 200;

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
  bool is_sign(const char* sign) const { return now().kind == TokenKind::sign && now().text == sign; }
  bool is_name(const char* name) const { return now().kind == TokenKind::name && now().text == name; }
  bool skip_sign(const char* sign) { return is_sign(sign) && (next(), true); }
  bool skip_name(const char* name) { return is_name(name) && (next(), true); }
  std::string shown() const {
    static const char* ends[] = {"text", "{{", "}}", "{%", "%}"};
    auto kind = static_cast<size_t>(now().kind);
    return now().kind == TokenKind::end ? "the template's end" : kind < 5 ? ends[kind] : "'" + now().text + "'";
  }
  void expect_sign(const char* sign) {
    if (!skip_sign(sign)) fail(std::string("expected '") + sign + "', got " + shown());
  }
  std::string expect_name(const char* what) {
    if (now().kind != TokenKind::name) fail(std::string("expected ") + what + ", got " + shown());
    return next().text;
  }

  ExpressionPointer make(ExpressionKind kind, std::string text = "") const {
    auto out = std::make_unique<Expression>();
    out->kind = kind, out->line = now().line, out->text = std::move(text);
    return out;
  }
  template <class... Children>
  ExpressionPointer make(ExpressionKind kind, std::string text, Children... children) const {
    auto out = make(kind, std::move(text));
    (out->children.push_back(std::move(children)), ...);
    return out;
  }

  /// a, b, ... as a tuple; one alone as itself.
  ExpressionPointer tuple(bool with_condition = true) {
    auto first = with_condition ? expression() : or_();
    if (!is_sign(",")) return first;
    auto out = make(ExpressionKind::tuple);
    out->children.push_back(std::move(first));
    while (skip_sign(",")) {
      if (now().kind == TokenKind::block_end || now().kind == TokenKind::print_end || is_sign(")")) break;
      out->children.push_back(with_condition ? expression() : or_());
    }
    return out;
  }

  ExpressionPointer expression() {
    Depth guard(*this);
    auto value = or_();
    while (skip_name("if")) {
      auto condition = or_();
      ExpressionPointer otherwise = skip_name("else") ? expression() : nullptr;
      value = make(ExpressionKind::condition, "", std::move(condition), std::move(value), std::move(otherwise));
    }
    return value;
  }

  ExpressionPointer or_() {
    auto left = and_();
    while (skip_name("or")) left = make(ExpressionKind::binary, "or", std::move(left), and_());
    return left;
  }

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

  ExpressionPointer and_() {
    auto left = not_();
    while (skip_name("and")) left = make(ExpressionKind::binary, "and", std::move(left), not_());
    return left;
  }
  ExpressionPointer not_() {
    Depth guard(*this);
    if (skip_name("not")) return make(ExpressionKind::unary, "not", not_());
    return compare();
  }
  /// a < b < c is a < b and b < c; the middle is evaluated twice, which has no effects here.
  ExpressionPointer compare() {
    auto left = sum();
    ExpressionPointer all;
    size_t begin = at_;
    while (true) {
      std::string sign;
      for (const char* known : {"==", "!=", "<=", ">=", "<", ">"})
        if (is_sign(known)) sign = known;
      bool negated = is_name("not") && at_ + 1 < tokens_.size() && tokens_[at_ + 1].kind == TokenKind::name &&
                     tokens_[at_ + 1].text == "in";
      if (negated) next();
      if (is_name("in")) sign = negated ? "not in" : "in";
      if (sign.empty()) return all ? std::move(all) : std::move(left);
      next();
      size_t middle = at_;
      auto right = sum();
      auto one = make(ExpressionKind::binary, sign, std::move(left), std::move(right));
      all = all ? make(ExpressionKind::binary, "and", std::move(all), std::move(one)) : std::move(one);
      size_t end = at_;
      at_ = middle, left = sum(), at_ = end;
      (void)begin;
    }
  }
  ExpressionPointer sum() {
    auto left = concatenation();
    while (is_sign("+") || is_sign("-")) {
      std::string sign = next().text;
      left = make(ExpressionKind::binary, sign, std::move(left), concatenation());
    }
    return left;
  }
  ExpressionPointer concatenation() {
    auto left = product();
    while (skip_sign("~")) left = make(ExpressionKind::binary, "~", std::move(left), product());
    return left;
  }
  ExpressionPointer product() {
    auto left = power();
    while (is_sign("*") || is_sign("/") || is_sign("//") || is_sign("%")) {
      std::string sign = next().text;
      left = make(ExpressionKind::binary, sign, std::move(left), power());
    }
    return left;
  }
  ExpressionPointer power() {
    auto left = unary(true);
    while (skip_sign("**")) left = make(ExpressionKind::binary, "**", std::move(left), unary(true));
    return left;
  }
  ExpressionPointer unary(bool with_filters) {
    Depth guard(*this);
    ExpressionPointer out;
    if (is_sign("-") || is_sign("+")) {
      std::string sign = next().text;
      out = make(ExpressionKind::unary, sign, unary(false));
    } else {
      out = primary();
    }
    out = postfix(std::move(out));
    return with_filters ? filters(std::move(out)) : std::move(out);
  }

  ExpressionPointer primary() {
    auto constant = [&](Value value) {
      auto out = make(ExpressionKind::constant);
      out->value = std::move(value);
      return out;
    };
    const Token token = now();
    switch (token.kind) {
      case TokenKind::name: {
        next();
        const std::string& t = token.text;
        if (t == "true" || t == "True") return constant(Value::of(true));
        if (t == "false" || t == "False") return constant(Value::of(false));
        if (t == "none" || t == "None") return constant(Value::none());
        return make(ExpressionKind::name, t);
      }
      case TokenKind::string: {
        std::string text;
        while (now().kind == TokenKind::string) text += next().text;
        return constant(Value::of(text));
      }
      case TokenKind::integer: {
        int64_t value = 0;
        auto end = token.text.data() + token.text.size();
        if (std::from_chars(token.text.data(), end, value).ec != std::errc()) fail("this number is too large");
        next();
        return constant(Value::of(value));
      }
      case TokenKind::number:
        next();
        return constant(Value::of(std::stod(token.text)));
      default:
        break;
    }
    if (skip_sign("(")) {
      if (skip_sign(")")) return make(ExpressionKind::tuple);
      auto out = tuple();
      expect_sign(")");
      return out;
    }
    if (skip_sign("[")) return list();
    if (skip_sign("{")) return map();
    fail("expected an expression, got " + shown());
  }
  ExpressionPointer list() {
    auto out = make(ExpressionKind::list);
    while (!skip_sign("]")) {
      if (!out->children.empty()) {
        expect_sign(",");
        if (skip_sign("]")) break;
      }
      out->children.push_back(expression());
    }
    return out;
  }
  ExpressionPointer map() {
    auto out = make(ExpressionKind::map);
    while (!skip_sign("}")) {
      if (!out->children.empty()) {
        expect_sign(",");
        if (skip_sign("}")) break;
      }
      out->children.push_back(expression());
      expect_sign(":");
      out->children.push_back(expression());
    }
    return out;
  }

  ExpressionPointer postfix(ExpressionPointer out) {
    while (true) {
      if (skip_sign(".")) {
        if (now().kind == TokenKind::integer) {
          auto index = primary();
          out = make(ExpressionKind::item, "", std::move(out), std::move(index));
        } else {
          std::string name = expect_name("an attribute's name");
          out = make(ExpressionKind::attribute, name, std::move(out));
        }
      } else if (skip_sign("[")) {
        out = subscript(std::move(out));
      } else if (is_sign("(")) {
        auto call = make(ExpressionKind::call);
        call->children.push_back(std::move(out));
        arguments(*call);
        out = std::move(call);
      } else {
        return out;
      }
    }
  }
  ExpressionPointer subscript(ExpressionPointer of) {
    ExpressionPointer parts[3];
    int count = 0;
    bool slice = false;
    while (!is_sign("]")) {
      if (skip_sign(":")) {
        slice = true;
        if (++count > 2) fail("a slice has at most three parts");
      } else {
        parts[count] = expression();
      }
    }
    expect_sign("]");
    if (!slice && !parts[0]) fail("an index is missing between [ and ]");
    if (!slice) return make(ExpressionKind::item, "", std::move(of), std::move(parts[0]));
    return make(ExpressionKind::slice, "", std::move(of), std::move(parts[0]), std::move(parts[1]),
                std::move(parts[2]));
  }

 protected:
  /// (a, b, name=c)
  void arguments(Expression& into) {
    expect_sign("(");
    bool first = true;
    while (!skip_sign(")")) {
      if (!first) {
        expect_sign(",");
        if (skip_sign(")")) break;
      }
      first = false;
      if (is_sign("*") || is_sign("**")) fail("arguments with * are not supported in chat templates here");
      bool named =
          now().kind == TokenKind::name && tokens_[at_ + 1].kind == TokenKind::sign && tokens_[at_ + 1].text == "=";
      if (named) {
        std::string name = next().text;
        next();
        into.named.emplace_back(name, expression());
      } else {
        if (!into.named.empty()) fail("an argument without a name can't follow one with a name");
        into.children.push_back(expression());
      }
    }
  }
  /// `out` | name(...) | ..., and `is` tests.
  ExpressionPointer filters(ExpressionPointer out) {
    while (true) {
      if (skip_sign("|"))
        out = filter(std::move(out));
      else if (skip_name("is"))
        out = test(std::move(out));
      else if (is_sign("("))  // a filter's result that is called
        out = postfix(std::move(out));
      else
        return out;
    }
  }
  ExpressionPointer filter(ExpressionPointer of) {
    auto out = make(ExpressionKind::filter, expect_name("a filter's name"));
    out->children.push_back(std::move(of));
    if (is_sign("(")) arguments(*out);
    return out;
  }

 private:
  ExpressionPointer test(ExpressionPointer of) {
    bool negated = skip_name("not");
    auto out = make(ExpressionKind::test, expect_name("a test's name"));
    out->negated = negated;
    out->children.push_back(std::move(of));
    bool begins = now().kind == TokenKind::string || now().kind == TokenKind::integer ||
                  now().kind == TokenKind::number || is_sign("[") || is_sign("{") ||
                  (now().kind == TokenKind::name && !is_name("else") && !is_name("or") && !is_name("and") &&
                   !is_name("if") && !is_name("is") && !is_name("not") && !is_name("in"));
    if (is_sign("("))
      arguments(*out);
    else if (begins)
      out->children.push_back(postfix(primary()));
    return out;
  }

 protected:
  std::vector<Token> tokens_;
  std::string where_;
  size_t at_ = 0;
  int depth_ = 0;
};

class Parser : public ExpressionParser {
 public:
  using ExpressionParser::ExpressionParser;

  Body run() {
    Body out = body({});
    if (now().kind != TokenKind::end) fail("{% " + tokens_[at_ + 1].text + " %} ends nothing that was begun");
    return out;
  }

 private:
  using S = Statement::Kind;

  std::unique_ptr<Statement> make_statement(S kind) const {
    auto out = std::make_unique<Statement>();
    out->kind = kind, out->line = now().line;
    return out;
  }
  void end_tag() {
    if (now().kind != TokenKind::block_end) fail("expected %}, got " + shown());
    next();
  }

  /// Statements up to a block whose name is one of `ends`, which stays unread; or the template's end.
  Body body(const std::vector<std::string>& ends) {
    if (++nested_ > kDeepestTree) fail("blocks may nest at most " + std::to_string(kDeepestTree) + " deep");
    Body out;
    while (now().kind != TokenKind::end) {
      if (now().kind == TokenKind::text) {
        out.push_back(make_statement(S::text));
        out.back()->text = next().text;
      } else if (now().kind == TokenKind::print_begin) {
        next();
        out.push_back(make_statement(S::print));
        out.back()->expression = tuple();
        if (now().kind != TokenKind::print_end) fail("expected }}, got " + shown());
        next();
      } else {
        const std::string& name = tokens_[at_ + 1].text;
        bool known = tokens_[at_ + 1].kind == TokenKind::name;
        if (known && std::find(ends.begin(), ends.end(), name) != ends.end()) break;
        if (known && (name.starts_with("end") || name == "else" || name == "elif")) break;
        next();
        out.push_back(block());
      }
    }
    --nested_;
    return out;
  }
  /// Reads {% `name` %}.
  void expect_end(const std::string& name, int line) {
    if (now().kind != TokenKind::block_begin || tokens_[at_ + 1].text != name)
      fail("expected {% " + name + " %} of the block of line " + std::to_string(line) + ", got " +
           (now().kind == TokenKind::block_begin ? "{% " + tokens_[at_ + 1].text + " %}" : shown()));
    next(), next();
    end_tag();
  }

  std::unique_ptr<Statement> block() {
    std::string name = expect_name("a block's name");
    if (name == "if") return if_();
    if (name == "for") return for_();
    if (name == "set") return set();
    if (name == "macro") return macro();
    if (name == "call") return call();
    if (name == "filter") return filter_block();
    if (name == "with") return with();
    if (name == "generation") {
      auto out = make_statement(S::generation);
      end_tag();
      out->body = body({"endgeneration"});
      expect_end("endgeneration", out->line);
      return out;
    }
    if (name == "break" || name == "continue") {
      auto out = make_statement(name == "break" ? S::break_ : S::continue_);
      end_tag();
      return out;
    }
    fail("the block {% " + name +
         " %} is not supported in chat templates here; known: if, for, set, macro, call, "
         "filter, with, raw, generation, break, continue");
  }

  std::unique_ptr<Statement> if_() {
    auto out = make_statement(S::if_);
    out->expression = tuple(true);
    end_tag();
    out->body = body({"elif", "else", "endif"});
    if (now().kind == TokenKind::block_begin && tokens_[at_ + 1].text == "elif") {
      next(), next();
      out->otherwise.push_back(if_());  // reads the {% endif %} of all
      return out;
    }
    if (now().kind == TokenKind::block_begin && tokens_[at_ + 1].text == "else") {
      next(), next();
      end_tag();
      out->otherwise = body({"endif"});
    }
    expect_end("endif", out->line);
    return out;
  }

  std::vector<std::string> targets() {
    std::vector<std::string> out;
    bool bracket = skip_sign("(");
    do {
      if (bracket && is_sign(")")) break;
      out.push_back(expect_name("a variable's name"));
    } while (skip_sign(","));
    if (bracket) expect_sign(")");
    return out;
  }

  std::unique_ptr<Statement> for_() {
    auto out = make_statement(S::for_);
    out->names = targets();
    if (!skip_name("in")) fail("expected 'in', got " + shown());
    out->expression = tuple(false);
    if (skip_name("if")) out->condition = expression();
    out->recursive = skip_name("recursive");
    end_tag();
    out->body = body({"else", "endfor"});
    if (now().kind == TokenKind::block_begin && tokens_[at_ + 1].text == "else") {
      next(), next();
      end_tag();
      out->otherwise = body({"endfor"});
    }
    expect_end("endfor", out->line);
    return out;
  }

  std::unique_ptr<Statement> set() {
    auto out = make_statement(S::set);
    out->names = targets();
    if (out->names.size() == 1 && skip_sign(".")) out->attribute = expect_name("an attribute's name");
    if (skip_sign("=")) {
      out->expression = tuple();
      end_tag();
      return out;
    }
    out->kind = S::set_block;
    // A filter on the block is applied to what it comes to, which stands in for a constant.
    if (is_sign("|")) out->expression = filters(make(ExpressionKind::name, ""));
    end_tag();
    out->body = body({"endset"});
    expect_end("endset", out->line);
    return out;
  }

  void parameters(Statement& out) {
    expect_sign("(");
    while (!skip_sign(")")) {
      if (!out.names.empty()) expect_sign(",");
      out.names.push_back(expect_name("a parameter's name"));
      if (skip_sign("="))
        out.defaults.push_back(expression());
      else if (!out.defaults.empty())
        fail("a parameter without a default can't follow one with a default");
    }
  }

  std::unique_ptr<Statement> macro() {
    auto out = make_statement(S::macro);
    out->text = expect_name("the macro's name");
    parameters(*out);
    end_tag();
    out->body = body({"endmacro"});
    expect_end("endmacro", out->line);
    return out;
  }
  std::unique_ptr<Statement> call() {
    auto out = make_statement(S::call_block);
    if (is_sign("(")) parameters(*out);
    out->expression = expression();
    if (out->expression->kind != ExpressionKind::call) fail("{% call %} needs a call");
    end_tag();
    out->body = body({"endcall"});
    expect_end("endcall", out->line);
    return out;
  }
  std::unique_ptr<Statement> filter_block() {
    auto out = make_statement(S::filter_block);
    out->expression = filters(filter(make(ExpressionKind::name, "")));
    end_tag();
    out->body = body({"endfilter"});
    expect_end("endfilter", out->line);
    return out;
  }
  std::unique_ptr<Statement> with() {
    auto out = make_statement(S::with);
    while (now().kind != TokenKind::block_end) {
      if (!out->names.empty()) expect_sign(",");
      out->names.push_back(expect_name("a variable's name"));
      expect_sign("=");
      out->defaults.push_back(expression());
    }
    end_tag();
    out->body = body({"endwith"});
    expect_end("endwith", out->line);
    return out;
  }

  int nested_ = 0;
};

}  // namespace

Body parse(const std::string& source, const std::string& where) {
  if (source.size() > kLargest)
    bad_input(where, "a chat template may have at most ", kLargest, " bytes; got ", source.size());
  return Parser(tokens_of(source, where), where).run();
}

}  // namespace rft::jinja
