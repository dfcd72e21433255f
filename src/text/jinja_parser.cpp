#include <algorithm>
#include <charconv>

#include "rft/core/error.h"
#include "text/jinja_expressions.h"
#include "text/jinja_lexer.h"
#include "text/jinja_syntax.h"

namespace rft::jinja {
namespace {

using ExpressionKind = Expression::Kind;
using TokenKind = Token::Kind;
constexpr size_t kLargest = size_t{1} << 20;

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
