#include "text/jinja_interpreter.h"

#include <algorithm>
#include <map>

#include "rft/core/error.h"
#include "text/jinja_builtins.h"
#include "text/jinja_operators.h"

namespace rft::jinja {
namespace {

using E = Expression::Kind;
using S = Statement::Kind;
using ValueKind = Value::Kind;

constexpr int64_t kMostOperations = 1'000'000;
constexpr int kDeepestCall = 100;

/// Variables of a block; what it doesn't have is its parent's.
struct Scope {
  explicit Scope(Scope* outer) : parent(outer) {}
  Scope* parent;
  std::map<std::string, Value> variables;

  const Value* find(const std::string& name) const {
    for (const Scope* scope = this; scope; scope = scope->parent)
      if (auto found = scope->variables.find(name); found != scope->variables.end()) return &found->second;
    return nullptr;
  }
};

enum class Flow { on, break_, continue_ };

class Interpreter {
 public:
  Interpreter(const Map& variables, std::string where) : where_(std::move(where)), top_(nullptr) {
    for (const auto& [name, value] : globals()) top_.variables[name] = value;
    for (const auto& [name, value] : variables) top_.variables[name] = value;
  }

  Rendered run(const Body& body) {
    Rendered out;
    written_ = &out;
    try {
      execute(body, top_, out.text);
    } catch (const UserError& error) {
      bad_input(where_ + ":" + std::to_string(line_), message_of(error));
    }
    return out;
  }

 private:
  /// Without the place that an inner error was given.
  static std::string message_of(const UserError& error) {
    std::string text = error.what();
    const std::string inner = "[chat template] ";
    return text.starts_with(inner) ? text.substr(inner.size()) : text;
  }
  template <class... Parts>
  [[noreturn]] static void fail(const Parts&... parts) {
    bad_input("chat template", parts...);
  }
  void count(int line) {
    line_ = line;
    if (++operations_ > kMostOperations) fail("the template takes more than ", kMostOperations, " operations");
  }
  static void add(std::string& out, const std::string& text) {
    if (out.size() + text.size() > kMostOutput) fail("the template writes more than ", kMostOutput, " bytes");
    out += text;
  }

  // ---- expressions

  Value evaluate(const Expression& e, Scope& scope) {
    count(e.line);
    switch (e.kind) {
      case E::constant:
        return e.value;
      case E::name: {
        const Value* found = scope.find(e.text);
        return found ? *found : Value::undefined(e.text);
      }
      case E::list:
      case E::tuple: {
        List items;
        for (const auto& child : e.children) items.push_back(evaluate(*child, scope));
        return Value::of(std::move(items), e.kind == E::list ? ValueKind::list : ValueKind::tuple);
      }
      case E::map:
        return map(e, scope);
      case E::attribute:
        return attribute(evaluate(*e.children[0], scope), e.text);
      case E::item:
        return item(evaluate(*e.children[0], scope), evaluate(*e.children[1], scope));
      case E::slice:
        return slice(e, scope);
      case E::call: {
        Value function = evaluate(*e.children[0], scope);
        return call(function, arguments(e, scope, 1));
      }
      case E::filter:
        return apply_filter(e.text, arguments(e, scope, 0));
      case E::test:
        return Value::of(apply_test(e.text, arguments(e, scope, 0)) != e.negated);
      case E::unary:
        return negated_or_signed(e.text, evaluate(*e.children[0], scope));
      case E::binary:
        return binary(e, scope);
      case E::condition:
        if (evaluate(*e.children[0], scope).truth()) return evaluate(*e.children[1], scope);
        return e.children[2] ? evaluate(*e.children[2], scope) : Value::undefined("the value of an if without else");
    }
    fail("unknown expression");
  }

  Value map(const Expression& e, Scope& scope) {
    Map entries;
    for (size_t i = 0; i < e.children.size(); i += 2) {
      std::string key = text_of(evaluate(*e.children[i], scope));
      Value value = evaluate(*e.children[i + 1], scope);
      auto same = std::find_if(entries.begin(), entries.end(), [&](const auto& entry) { return entry.first == key; });
      same == entries.end() ? void(entries.emplace_back(key, value)) : void(same->second = value);
    }
    return Value::of(std::move(entries));
  }

  /// x.name: Python's methods come before a map's entries, as in Jinja2.
  static Value attribute(const Value& x, const std::string& name) {
    if (x.is(ValueKind::undefined)) fail("'", x.text, "' is undefined, and so has no '", name, "'");
    if (name.starts_with("_")) {
      const Value* entry = x.find(name);
      if (entry) return *entry;
      fail("access to the attribute '", name, "' is not safe");
    }
    Value method = method_of(x, name);
    if (!method.is(ValueKind::undefined)) return method;
    return x.is_map() ? item_of(x, Value::of(name)) : Value::undefined(name);
  }
  /// x[key]: entries before methods.
  static Value item(const Value& x, const Value& key) {
    Value found = item_of(x, key);
    return found.is(ValueKind::undefined) && key.is_string() && !key.text.starts_with("_") ? method_of(x, key.text)
                                                                                           : found;
  }

  Value slice(const Expression& e, Scope& scope) {
    Value x = evaluate(*e.children[0], scope);
    bool text = x.is_string();
    List all = text || x.is_sequence() ? elements_of(x) : List{};
    if (!text && !x.is_sequence()) fail("a ", kind_name(x), " has no slices");
    int64_t size = static_cast<int64_t>(all.size());
    auto part = [&](size_t i, int64_t fallback) {
      if (!e.children[i]) return fallback;
      Value given = evaluate(*e.children[i], scope);
      return given.is(ValueKind::none) ? fallback : given.as_integer();
    };
    int64_t step = part(3, 1);
    if (step == 0) fail("the step of a slice is 0");
    auto bound = [&](int64_t at) {
      if (at < 0) at += size;
      return step > 0 ? std::clamp<int64_t>(at, 0, size) : std::clamp<int64_t>(at, -1, size - 1);
    };
    int64_t first = e.children[1] ? bound(part(1, 0)) : step > 0 ? 0 : size - 1;
    int64_t last = e.children[2] ? bound(part(2, size)) : step > 0 ? size : -1;
    if (e.children[2] && evaluate(*e.children[2], scope).is(ValueKind::none)) last = step > 0 ? size : -1;
    List out;
    for (int64_t i = first; step > 0 ? i < last : i > last; i += step) out.push_back(all[static_cast<size_t>(i)]);
    if (!text) return Value::of(std::move(out), x.kind);
    std::string joined;
    for (const auto& c : out) joined += c.text;
    return Value::of(joined);
  }

  Arguments arguments(const Expression& e, Scope& scope, size_t first) {
    Arguments out;
    for (size_t i = first; i < e.children.size(); ++i) out.positional.push_back(evaluate(*e.children[i], scope));
    for (const auto& [name, value] : e.named) out.named.emplace_back(name, evaluate(*value, scope));
    return out;
  }

  Value call(const Value& function, const Arguments& given) {
    if (function.is(ValueKind::undefined)) fail("'", function.text, "' is undefined, and can't be called");
    if (!function.is(ValueKind::function)) fail("a ", kind_name(function), " can't be called");
    if (++depth_ > kDeepestCall) fail("calls nest more than ", kDeepestCall, " deep");
    Value out = (*function.call)(given);
    --depth_;
    return out;
  }

  Value binary(const Expression& e, Scope& scope) {
    const std::string& sign = e.text;
    Value left = evaluate(*e.children[0], scope);
    if (sign == "and") return left.truth() ? evaluate(*e.children[1], scope) : left;
    if (sign == "or") return left.truth() ? left : evaluate(*e.children[1], scope);
    Value right = evaluate(*e.children[1], scope);
    if (sign == "==") return Value::of(equal(left, right));
    if (sign == "!=") return Value::of(!equal(left, right));
    if (sign == "in" || sign == "not in") {
      if (right.is(ValueKind::undefined)) fail("'", right.text, "' is undefined, and so holds nothing");
      return Value::of(apply_test("in", {{left, right}, {}}) == (sign == "in"));
    }
    if (sign == "~") return joined_texts(text_of(left), text_of(right));
    for (const Value* x : {&left, &right})
      if (x->is(ValueKind::undefined)) fail("'", x->text, "' is undefined, and can't be computed with");
    if (sign == "<") return Value::of(less(left, right));
    if (sign == ">") return Value::of(less(right, left));
    if (sign == "<=") return Value::of(!less(right, left));
    if (sign == ">=") return Value::of(!less(left, right));
    return arithmetic(sign, left, right);
  }

  // ---- statements

  Flow execute(const Body& body, Scope& scope, std::string& out) {
    for (const auto& statement : body)
      if (Flow flow = execute(*statement, scope, out); flow != Flow::on) return flow;
    return Flow::on;
  }

  std::string text_of_body(const Body& body, Scope& scope) {
    std::string out;
    execute(body, scope, out);
    return out;
  }

  Flow execute(const Statement& s, Scope& scope, std::string& out) {
    count(s.line);
    switch (s.kind) {
      case S::text:
        add(out, s.text);
        return Flow::on;
      case S::print:
        add(out, text_of(evaluate(*s.expression, scope)));
        return Flow::on;
      case S::if_:
        return execute(evaluate(*s.expression, scope).truth() ? s.body : s.otherwise, scope, out);
      case S::for_:
        return loop(s, elements_of(evaluate(*s.expression, scope)), scope, out, 1);
      case S::set:
        assign(s, evaluate(*s.expression, scope), scope);
        return Flow::on;
      case S::set_block: {
        Scope inside(&scope);
        Value value = Value::of(text_of_body(s.body, inside));
        if (s.expression) value = filtered(*s.expression, value, scope);
        assign(s, value, scope);
        return Flow::on;
      }
      case S::macro:
        scope.variables[s.text] = macro(s, s.text, scope);
        return Flow::on;
      case S::call_block: {
        Value function = evaluate(*s.expression->children[0], scope);
        Arguments given = arguments(*s.expression, scope, 1);
        given.named.emplace_back("caller", macro(s, "caller", scope));
        add(out, text_of(call(function, given)));
        return Flow::on;
      }
      case S::filter_block: {
        Scope inside(&scope);
        add(out, text_of(filtered(*s.expression, Value::of(text_of_body(s.body, inside)), scope)));
        return Flow::on;
      }
      case S::generation: {  // marks what the assistant says; it is written like any other text
        Scope inside(&scope);
        size_t begin = out.size();
        Flow flow = execute(s.body, inside, out);
        if (&out != &written_->text)
          written_->captured_line = s.line;
        else if (out.size() > begin)
          written_->marked.emplace_back(begin, out.size());
        return flow;
      }
      case S::with: {
        Scope inside(&scope);
        for (size_t i = 0; i < s.names.size(); ++i) inside.variables[s.names[i]] = evaluate(*s.defaults[i], scope);
        return execute(s.body, inside, out);
      }
      case S::break_:
        return Flow::break_;
      case S::continue_:
        return Flow::continue_;
    }
    fail("unknown statement");
  }

  /// A chain of filters whose innermost subject is the name "".
  Value filtered(const Expression& chain, const Value& subject, Scope& scope) {
    Scope inside(&scope);
    inside.variables[""] = subject;
    return evaluate(chain, inside);
  }

  void unpack(const std::vector<std::string>& names, const Value& value, Scope& scope) {
    if (names.size() == 1) return void(scope.variables[names[0]] = value);
    List parts = elements_of(value);
    if (parts.size() != names.size()) fail(names.size(), " variables can't take ", parts.size(), " values");
    for (size_t i = 0; i < names.size(); ++i) scope.variables[names[i]] = parts[i];
  }

  void assign(const Statement& s, const Value& value, Scope& scope) {
    if (s.attribute.empty()) return unpack(s.names, value, scope);
    const Value* space = scope.find(s.names[0]);
    if (!space || !space->is(ValueKind::space))
      fail("'", s.names[0], ".", s.attribute, "' can be set of a namespace alone");
    if (s.attribute.starts_with("_")) fail("a namespace has no attributes that begin with _; got '", s.attribute, "'");
    for (auto& [name, held] : *space->entries)
      if (name == s.attribute) return void(held = value);
    space->entries->emplace_back(s.attribute, value);
  }

  Flow loop(const Statement& s, const List& all, Scope& scope, std::string& out, int64_t depth) {
    List items;
    for (const auto& item : all) {
      if (!s.condition) {
        items.push_back(item);
        continue;
      }
      Scope test(&scope);
      unpack(s.names, item, test);
      if (evaluate(*s.condition, test).truth()) items.push_back(item);
    }
    if (items.empty()) {
      Scope inside(&scope);
      return execute(s.otherwise, inside, out);
    }
    auto changed = std::make_shared<Value>(Value::undefined("nothing"));
    for (size_t i = 0; i < items.size(); ++i) {
      count(s.line);
      Scope inside(&scope);
      inside.variables["loop"] = loop_variable(s, items, i, scope, depth, changed);
      unpack(s.names, items[i], inside);
      if (execute(s.body, inside, out) == Flow::break_) break;
    }
    return Flow::on;
  }

  Value loop_variable(const Statement& s, const List& items, size_t i, Scope& scope, int64_t depth,
                      const std::shared_ptr<Value>& changed) {
    auto n = static_cast<int64_t>(items.size()), at = static_cast<int64_t>(i);
    Map out{{"index", Value::of(at + 1)},
            {"index0", Value::of(at)},
            {"revindex", Value::of(n - at)},
            {"revindex0", Value::of(n - at - 1)},
            {"first", Value::of(at == 0)},
            {"last", Value::of(at == n - 1)},
            {"length", Value::of(n)},
            {"depth", Value::of(depth)},
            {"depth0", Value::of(depth - 1)},
            {"previtem", i > 0 ? items[i - 1] : Value::undefined("there is no previous item")},
            {"nextitem", i + 1 < items.size() ? items[i + 1] : Value::undefined("there is no next item")}};
    out.emplace_back("cycle", Value::function("cycle", [at](const Arguments& a) {
                       if (a.positional.empty()) fail("cycle needs values");
                       return a.positional[static_cast<size_t>(at) % a.positional.size()];
                     }));
    out.emplace_back("changed", Value::function("changed", [changed](const Arguments& a) {
                       Value now = Value::of(a.positional);
                       bool differs = !equal(*changed, now);
                       *changed = now;
                       return Value::of(differs);
                     }));
    Value loop = Value::of(std::move(out));
    if (!s.recursive) return loop;
    // A recursive loop's variable is called with the next level's items.
    Scope* outer = &scope;
    loop.entries->emplace_back("__call__", Value::function("loop", [this, &s, outer, depth](const Arguments& a) {
                                 std::string text;
                                 this->loop(s, elements_of(a.positional.at(0)), *outer, text, depth + 1);
                                 return Value::of(text);
                               }));
    Value callable = *loop.find("__call__");
    callable.entries = loop.entries;
    callable.kind = ValueKind::function;
    return callable;
  }

  /// A macro sees the variables of where it was defined.
  Value macro(const Statement& s, const std::string& name, Scope& scope) {
    Scope* outer = &scope;
    return Value::function(name, [this, &s, outer, name](const Arguments& a) {
      Scope inside(outer);
      if (a.positional.size() > s.names.size())
        fail("the macro '", name, "' takes ", s.names.size(), " arguments; got ", a.positional.size());
      for (const auto& [given, value] : a.named)
        if (given != "caller" && std::find(s.names.begin(), s.names.end(), given) == s.names.end())
          fail("the macro '", name, "' has no parameter '", given, "'");
      size_t required = s.names.size() - s.defaults.size();
      for (size_t i = 0; i < s.names.size(); ++i) {
        const Value* given = a.find(i, s.names[i]);
        inside.variables[s.names[i]] = given           ? *given
                                       : i >= required ? evaluate(*s.defaults[i - required], inside)
                                                       : Value::undefined(s.names[i]);
      }
      if (const Value* caller = a.find(99, "caller")) inside.variables["caller"] = *caller;
      return Value::of(text_of_body(s.body, inside));
    });
  }

  std::string where_;
  Rendered* written_ = nullptr;
  Scope top_;
  int line_ = 1;
  int64_t operations_ = 0;
  int depth_ = 0;
};

}  // namespace

Rendered render(const Body& body, const Map& variables, const std::string& where) {
  return Interpreter(variables, where).run(body);
}

}  // namespace rft::jinja
