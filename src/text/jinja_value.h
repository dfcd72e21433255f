#pragma once
/// What a chat template computes with: Python's plain values, as Jinja2 shows them to a template.
#include <cstdint>
#include <functional>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace rft::jinja {

inline constexpr char kTemplate[] = "chat template";  ///< where an error lies

struct Value;
struct Arguments;
using List = std::vector<Value>;
/// In the order of insertion.
using Map = std::vector<std::pair<std::string, Value>>;
using Function = std::function<Value(const Arguments&)>;

/// Copies share what they hold; only a namespace is ever changed.
struct Value {
  enum class Kind { undefined, none, boolean, integer, number, string, list, tuple, map, space, function };
  Kind kind = Kind::undefined;
  bool flag = false;
  int64_t integer = 0;
  double number = 0;
  std::string text;  ///< a string's; of an undefined value or a function its name
  std::shared_ptr<List> items;
  std::shared_ptr<Map> entries;
  std::shared_ptr<Function> call;

  static Value undefined(std::string name) { return named(Kind::undefined, std::move(name)); }
  static Value none() { return named(Kind::none, ""); }
  static Value of(bool x);
  static Value of(int64_t x);
  static Value of(double x);
  static Value of(std::string x) { return named(Kind::string, std::move(x)); }
  static Value of(const char* x) { return of(std::string(x)); }
  static Value of(List x, Kind kind = Kind::list);
  static Value of(Map x, Kind kind = Kind::map);
  static Value function(std::string name, Function body);
  static Value from_json(const nlohmann::ordered_json& json);

  bool is(Kind k) const { return kind == k; }
  bool is_string() const { return kind == Kind::string; }
  bool is_sequence() const { return kind == Kind::list || kind == Kind::tuple; }
  bool is_map() const { return kind == Kind::map || kind == Kind::space; }
  bool is_number() const { return kind == Kind::integer || kind == Kind::number || kind == Kind::boolean; }
  /// Python's truth of it.
  bool truth() const;
  /// A boolean, integer or float as a float.
  double as_double() const;
  int64_t as_integer() const { return kind == Kind::boolean ? flag : integer; }
  const Value* find(std::string_view key) const;

 private:
  static Value named(Kind kind, std::string text);
};

struct Arguments {
  List positional;
  std::vector<std::pair<std::string, Value>> named;
  /// The argument of that place or name, or nullptr.
  const Value* find(size_t place, std::string_view name) const;
};

/// str(x), as {{ x }} prints it; an undefined value is "".
std::string text_of(const Value& x);
/// repr(x).
std::string repr_of(const Value& x);
/// json.dumps(x, ensure_ascii=False); `indent` < 0: on one line. Throws UserError where x has no JSON.
std::string json_of(const Value& x, int64_t indent, const std::string& item_separator, const std::string& key_separator,
                    bool ascii, bool sort_keys);
/// Python's ==; numbers of any kind compare by value.
bool equal(const Value& a, const Value& b);
/// Python's a < b of numbers, of strings, and of lists of them. Throws UserError where they can't be compared.
bool less(const Value& a, const Value& b);
/// "string", "list", ... for messages.
const char* kind_name(const Value& x);

/// Code points of a string, each as its own text.
std::vector<std::string> characters(std::string_view text);
int64_t length_of(const Value& x);
/// What a for loop goes over: elements, characters, keys. Throws UserError where there is nothing to go over.
List elements_of(const Value& x);
/// x[key] or x.key, an undefined value where there is none. Python's getitem: negative indices count from the end.
Value item_of(const Value& x, const Value& key);

}  // namespace rft::jinja
