#include "text/jinja_expressions.h"

#include <algorithm>
#include <charconv>

namespace rft::jinja {
namespace {

using ExpressionKind = Expression::Kind;
using TokenKind = Token::Kind;

}  // namespace

ExpressionPointer ExpressionParser::tuple(bool with_condition) {
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

ExpressionPointer ExpressionParser::expression() {
  Depth guard(*this);
  auto value = or_();
  while (skip_name("if")) {
    auto condition = or_();
    ExpressionPointer otherwise = skip_name("else") ? expression() : nullptr;
    value = make(ExpressionKind::condition, "", std::move(condition), std::move(value), std::move(otherwise));
  }
  return value;
}

ExpressionPointer ExpressionParser::or_() {
  auto left = and_();
  while (skip_name("or")) left = make(ExpressionKind::binary, "or", std::move(left), and_());
  return left;
}

ExpressionPointer ExpressionParser::and_() {
  auto left = not_();
  while (skip_name("and")) left = make(ExpressionKind::binary, "and", std::move(left), not_());
  return left;
}

ExpressionPointer ExpressionParser::not_() {
  Depth guard(*this);
  if (skip_name("not")) return make(ExpressionKind::unary, "not", not_());
  return compare();
}

ExpressionPointer ExpressionParser::compare() {
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

ExpressionPointer ExpressionParser::sum() {
  auto left = concatenation();
  while (is_sign("+") || is_sign("-")) {
    std::string sign = next().text;
    left = make(ExpressionKind::binary, sign, std::move(left), concatenation());
  }
  return left;
}

ExpressionPointer ExpressionParser::concatenation() {
  auto left = product();
  while (skip_sign("~")) left = make(ExpressionKind::binary, "~", std::move(left), product());
  return left;
}

ExpressionPointer ExpressionParser::product() {
  auto left = power();
  while (is_sign("*") || is_sign("/") || is_sign("//") || is_sign("%")) {
    std::string sign = next().text;
    left = make(ExpressionKind::binary, sign, std::move(left), power());
  }
  return left;
}

ExpressionPointer ExpressionParser::power() {
  auto left = unary(true);
  while (skip_sign("**")) left = make(ExpressionKind::binary, "**", std::move(left), unary(true));
  return left;
}

ExpressionPointer ExpressionParser::unary(bool with_filters) {
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

ExpressionPointer ExpressionParser::primary() {
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

ExpressionPointer ExpressionParser::list() {
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

ExpressionPointer ExpressionParser::map() {
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

ExpressionPointer ExpressionParser::postfix(ExpressionPointer out) {
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

ExpressionPointer ExpressionParser::subscript(ExpressionPointer of) {
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
  return make(ExpressionKind::slice, "", std::move(of), std::move(parts[0]), std::move(parts[1]), std::move(parts[2]));
}

void ExpressionParser::arguments(Expression& into) {
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

ExpressionPointer ExpressionParser::filters(ExpressionPointer out) {
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

ExpressionPointer ExpressionParser::filter(ExpressionPointer of) {
  auto out = make(ExpressionKind::filter, expect_name("a filter's name"));
  out->children.push_back(std::move(of));
  if (is_sign("(")) arguments(*out);
  return out;
}

ExpressionPointer ExpressionParser::test(ExpressionPointer of) {
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

}  // namespace rft::jinja
