#pragma once
/// A chat template as a tree: the part of Jinja2 that chat templates use. What is not part of it is an error that names
/// it and the line.
#include <memory>
#include <string>
#include <vector>

#include "text/jinja_value.h"

namespace rft::jinja {

struct Expression {
  enum class Kind {
    constant,   // value
    name,       // text
    list,       // children
    tuple,      // children
    map,        // children: key, value, key, value, ...
    attribute,  // children[0].text
    item,       // children[0][children[1]]
    slice,      // children[0][children[1] : children[2] : children[3]], each of which may be null
    call,       // children[0](children[1 ..], named)
    filter,     // children[0] | text(children[1 ..], named)
    test,       // children[0] is text(children[1 ..]); `negated`
    unary,      // text children[0]
    binary,     // children[0] text children[1]
    condition,  // children[1] if children[0] else children[2], which may be null
  };
  Kind kind = Kind::constant;
  int line = 0;
  std::string text;
  Value value;
  bool negated = false;
  std::vector<std::unique_ptr<Expression>> children;
  std::vector<std::pair<std::string, std::unique_ptr<Expression>>> named;
};
using ExpressionPointer = std::unique_ptr<Expression>;

struct Statement;
using Body = std::vector<std::unique_ptr<Statement>>;

struct Statement {
  enum class Kind {
    text,
    print,
    if_,
    for_,
    set,
    set_block,
    macro,
    call_block,
    filter_block,
    generation,
    with,
    break_,
    continue_
  };
  Kind kind = Kind::text;
  int line = 0;
  std::string text;                         ///< text; a macro's name
  ExpressionPointer expression;             ///< what is printed, tested, gone over, assigned, called, or filters
  ExpressionPointer condition;              ///< of a for loop
  std::vector<std::string> names;           ///< targets of for, set and with; parameters of macro and call
  std::string attribute;                    ///< set: of the namespace names[0]
  std::vector<ExpressionPointer> defaults;  ///< of the last parameters; with: the values
  bool recursive = false;
  Body body, otherwise;
};

/// Parses a template of at most 1 MiB. Throws UserError with `where` and the line.
Body parse(const std::string& source, const std::string& where);

}  // namespace rft::jinja
