#include "rft/text/json_pattern.h"

#include <algorithm>
#include <map>
#include <nlohmann/json.hpp>
#include <set>

#include "rft/core/error.h"
#include "rft/core/json_depth.h"
#include "rft/core/pattern.h"
#include "rft/core/text.h"

namespace rft {
namespace {

using Json = nlohmann::ordered_json;

constexpr size_t kMostBytes = 64 << 10;
constexpr int kMaxDepth = 64;
constexpr int64_t kMostRepeats = 1000;

/// Blanks, a character of a string, a string, a number, an array, a member, an object and a value (RFC 8259).
constexpr char kGrammar[] = R"((?<w>[ \t\n\r]{0,16}))"
                            R"((?<c>[^"\\\x00-\x1f]|\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4})))"
                            R"((?<s>"(?&c)*"))"
                            R"((?<i>-?(?:0|[1-9][0-9]*)))"
                            R"((?<n>(?&i)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?))"
                            R"((?<a>\[(?&w)(?:(?&v)(?&w)(?:,(?&w)(?&v)(?&w))*)?\]))"
                            R"((?<m>(?&s)(?&w):(?&w)(?&v)))"
                            R"((?<o>\{(?&w)(?:(?&m)(?&w)(?:,(?&w)(?&m)(?&w))*)?\}))"
                            R"((?<v>(?&s)|(?&n)|true|false|null|(?&a)|(?&o)))";

std::string with_grammar(const std::string& more, const std::string& whole) {
  return cat("(?(DEFINE)", kGrammar, more, ")", whole);
}

std::string literally(const Json& value) { return literal_pattern(value.dump()); }

/// A schema as a pattern whose parts are named groups: a group may name itself, so that recursion is its own matter.
class SchemaPattern {
 public:
  SchemaPattern(const Json& schema, const std::string& where) : root_(schema), where_(where) {}

  std::string whole() {
    const std::string value = value_of(root_, "#");
    return with_grammar(definitions_, value);
  }

 private:
  [[noreturn]] void refuse(const std::string& at, const std::string& message) const {
    bad_input(where_, at, " ", message);
  }

  /// A new group of this body, called.
  std::string named(const std::string& body) {
    const std::string name = cat("g", groups_++);
    definitions_ += cat("(?<", name, ">", body, ")");
    return cat("(?&", name, ")");
  }

  std::string value_of(const Json& schema, const std::string& at) {
    if (schema == true) return "(?&v)";
    if (!schema.is_object()) refuse(at, "must be a schema; got " + schema.dump().substr(0, 80));
    known_only(schema, at);
    if (schema.contains("$ref")) return reference(schema["$ref"], at);
    if (schema.contains("const")) return literally(schema["const"]);
    if (schema.contains("enum"))
      return any_of(schema["enum"], at + "/enum", [&](const Json& one, const std::string&) { return literally(one); });
    if (schema.contains("anyOf"))
      return any_of(schema["anyOf"], at + "/anyOf",
                    [&](const Json& one, const std::string& place) { return value_of(one, place); });
    if (!schema.contains("type")) return schema.contains("properties") ? object(schema, at) : "(?&v)";
    const Json& type = schema["type"];
    if (!type.is_array()) return of_type(type, schema, at);
    return any_of(type, at + "/type", [&](const Json& one, const std::string&) { return of_type(one, schema, at); });
  }

  template <class One>
  std::string any_of(const Json& list, const std::string& at, One one) {
    if (!list.is_array() || list.empty()) refuse(at, "must be a list with something in it");
    std::vector<std::string> parts;
    for (size_t i = 0; i < list.size(); ++i) parts.push_back(one(list[i], cat(at, "/", i)));
    return cat("(?:", join(parts, "|"), ")");
  }

  std::string of_type(const Json& type, const Json& schema, const std::string& at) {
    if (type == "string") return string(schema, at);
    if (type == "number") return "(?&n)";
    if (type == "integer") return "(?&i)";
    if (type == "boolean") return "(?:true|false)";
    if (type == "null") return "null";
    if (type == "array") return array(schema, at);
    if (type == "object") return object(schema, at);
    refuse(at + "/type", "must be string, number, integer, boolean, null, array or object; got " + type.dump());
  }

  /// "{low,high}" of two bounds.
  std::string repeats(const Json& schema, const char* low, const char* high, int64_t less,
                      const std::string& at) const {
    auto bound = [&](const char* name, int64_t fallback) {
      if (!schema.contains(name)) return fallback;
      const Json& value = schema[name];
      if (!value.is_number_integer() || value < 0 || value > kMostRepeats)
        refuse(cat(at, "/", name), cat("must be a whole number in 0 .. ", kMostRepeats, "; got ", value.dump()));
      return value.get<int64_t>();
    };
    const int64_t first = bound(low, 0), last = bound(high, -1);
    if (last >= 0 && last < first) refuse(at, cat("has a ", high, " below its ", low));
    const std::string end = last < 0 ? "" : std::to_string(std::max<int64_t>(last - less, 0));
    return cat("{", std::max<int64_t>(first - less, 0), ",", end, "}");
  }

  std::string string(const Json& schema, const std::string& at) const {
    return cat("\"(?&c)", repeats(schema, "minLength", "maxLength", 0, at), "\"");
  }

  std::string array(const Json& schema, const std::string& at) {
    const std::string item = schema.contains("items") ? value_of(schema["items"], at + "/items") : "(?&v)";
    const std::string more = repeats(schema, "minItems", "maxItems", 1, at);
    const bool may_be_empty = schema.value("minItems", 0) == 0, must_be = schema.value("maxItems", 1) == 0;
    if (must_be) return R"(\[(?&w)\])";
    const std::string one = named(item);
    return named(
        cat(R"(\[(?&w)(?:)", one, "(?&w)(?:,(?&w)", one, "(?&w))", more, ")", may_be_empty ? "?" : "", R"(\])"));
  }

  /// Members in the schema's order. `rest[i]` is what may follow once a member stands before property i, with its
  /// comma; `start[i]` what may stand from property i on where none does.
  std::string object(const Json& schema, const std::string& at) {
    if (!schema.contains("properties") || schema["properties"].empty()) return "(?&o)";
    const Json& properties = schema["properties"];
    if (!properties.is_object())
      refuse(at + "/properties", "must be an object; got " + properties.dump().substr(0, 80));
    const std::set<std::string> required = names_of(schema, properties, at);
    std::string rest, start;
    bool may_be_empty = true;
    for (auto property = properties.rbegin(); property != properties.rend(); ++property) {
      const std::string member = named(cat(literally(Json(property.key())), "(?&w):(?&w)",
                                           value_of(property.value(), cat(at, "/properties/", property.key()))));
      const bool needed = required.count(property.key()) > 0;
      const std::string with = cat(member, "(?&w)", rest);
      start = needed || start.empty() ? with : cat("(?:", with, "|", start, ")");
      may_be_empty &= !needed;
      rest = named(cat("(?:,(?&w)", with, ")", needed ? "" : "|", needed ? "" : rest));
      start = named(start);
    }
    return named(cat(R"(\{(?&w)(?:)", start, ")", may_be_empty ? "?" : "", R"(\})"));
  }

  std::set<std::string> names_of(const Json& schema, const Json& properties, const std::string& at) const {
    std::set<std::string> out;
    for (const Json& name : schema.value("required", Json::array())) {
      if (!name.is_string() || !properties.contains(name.get<std::string>()))
        refuse(at + "/required", "must name properties of the schema; got " + name.dump());
      out.insert(name);
    }
    return out;
  }

  std::string reference(const Json& given, const std::string& at) {
    const std::string path = given.is_string() ? given.get<std::string>() : "";
    if (path == "#") return again(path, root_);
    for (const char* place : {"$defs", "definitions"}) {
      const std::string start = cat("#/", place, "/");
      if (!path.starts_with(start) || !root_.contains(place)) continue;
      const std::string name = path.substr(start.size());
      if (root_[place].is_object() && root_[place].contains(name)) return again(path, root_[place][name]);
    }
    refuse(at + "/$ref", "must be '#', '#/$defs/NAME' or '#/definitions/NAME' of this schema; got " + given.dump());
  }

  /// The group of a definition; it is there before its body is, which may name it.
  std::string again(const std::string& path, const Json& schema) {
    auto found = references_.find(path);
    if (found != references_.end()) return found->second;
    const std::string name = cat("g", groups_++);
    references_[path] = cat("(?&", name, ")");
    const std::string body = value_of(schema, path);
    definitions_ += cat("(?<", name, ">", body, ")");
    return references_[path];
  }

  void known_only(const Json& schema, const std::string& at) const {
    static const std::vector<std::string> known{"type",      "properties", "required",    "additionalProperties",
                                                "items",     "minItems",   "maxItems",    "minLength",
                                                "maxLength", "enum",       "const",       "anyOf",
                                                "$ref",      "$defs",      "definitions", "title",
                                                "default",   "examples",   "format",      "description",
                                                "$comment",  "$schema",    "$id"};
    for (const auto& [name, value] : schema.items())
      if (std::find(known.begin(), known.end(), name) == known.end())
        refuse(at, "holds '" + name + "', which is not implemented" + suggestion(name, known));
  }

  const Json& root_;
  std::string where_, definitions_;
  std::map<std::string, std::string> references_;
  int groups_ = 0;
};

}  // namespace

std::string json_object_pattern() { return with_grammar("", "(?&o)"); }

std::string json_schema_pattern(const std::string& schema, const std::string& where) {
  if (schema.size() > kMostBytes) bad_input(where, "may have at most ", kMostBytes, " bytes; got ", schema.size());
  if (too_deep_at(schema, kMaxDepth)) bad_input(where, "nests deeper than ", kMaxDepth);
  const Json json = Json::parse(schema, nullptr, false);
  if (json.is_discarded()) bad_input(where, "is no JSON");
  return SchemaPattern(json, where).whole();
}

}  // namespace rft
