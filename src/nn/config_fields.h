#pragma once
/// A decoder's config.json, field by field, with errors that name the file and the field.
#include <nlohmann/json.hpp>
#include <set>
#include <string>
#include <vector>

#include "rft/core/error.h"

namespace rft {

class ConfigFields {
 public:
  using Json = nlohmann::json;

  ConfigFields(const Json& json, const std::string& where) : json_(json), where_(where) {}

  bool has(const char* name) const {
    known_.insert(name);
    return json_.contains(name) && !json_[name].is_null();
  }
  const Json& raw(const char* name) const { return json_[name]; }
  /// A whole number in 1 .. 2^28, or `fallback` where the field is missing; a missing one without fallback is an error.
  int64_t size(const char* name, int64_t fallback = 0) const {
    if (!has(name) && fallback > 0) return fallback;
    if (!has(name)) bad_input(where_, "the field '", name, "' is missing");
    const Json& value = json_[name];
    constexpr int64_t largest = int64_t{1} << 28;  // products of two sizes stay far from overflow
    if (!value.is_number_integer() || value.get<double>() < 1 || value.get<double>() > static_cast<double>(largest))
      bad_input(where_, "'", name, "' must be a whole number in 1 .. 2^28; got ", value.dump());
    return value;
  }
  double number(const char* name, double fallback) const {
    if (!has(name)) return fallback;
    if (!json_[name].is_number()) bad_input(where_, "'", name, "' must be a number; got ", json_[name].dump());
    return json_[name];
  }
  double positive(const char* name, double fallback) const {
    double value = number(name, fallback);
    if (!(value > 0)) bad_input(where_, "'", name, "' must be above 0; got ", value);
    return value;
  }
  bool flag(const char* name, bool fallback) const {
    if (!has(name)) return fallback;
    if (!json_[name].is_boolean()) bad_input(where_, "'", name, "' must be true or false; got ", json_[name].dump());
    return json_[name];
  }
  std::string text(const char* name, const std::string& fallback) const {
    if (!has(name)) return fallback;
    if (!json_[name].is_string()) bad_input(where_, "'", name, "' must be a text; got ", json_[name].dump());
    return json_[name];
  }
  /// Throws where a field that would change the computation has another value than the one that is implemented.
  void only(const char* name, bool value) const {
    if (flag(name, value) != value)
      bad_input(where_, "'", name, "': ", !value ? "true" : "false", " is not implemented");
  }
  /// Fields that change nothing that is computed here. All whose name starts with "_" are such.
  void ignore(const std::vector<const char*>& names) const { known_.insert(names.begin(), names.end()); }
  /// Names a field that nobody asked for, and that says something: no setting is silently passed over.
  void finish() const {
    for (const auto& [name, value] : json_.items()) {
      bool says_nothing = value.is_null() || value == false || (value.is_structured() && value.empty());
      if (!known_.count(name) && !name.starts_with("_") && !says_nothing)
        bad_input(where_, "the field '", name, "' (", value.dump().substr(0, 80),
                  ") is not known and may change what the model computes; remove it where it does not");
    }
  }

  const Json& json() const { return json_; }
  const std::string& where() const { return where_; }

 private:
  const Json& json_;
  const std::string& where_;
  mutable std::set<std::string> known_;
};

}  // namespace rft
