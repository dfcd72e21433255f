#pragma once
/// A decoder's config.json, field by field, with errors that name the file and the field.
#include <string>
#include <vector>

#include "core/model_config.h"
#include "rft/core/error.h"

namespace rft {

/// ModelConfig's bookkeeping, in the words of a decoder's errors, and with sizes that must be there.
class ConfigFields {
 public:
  using Json = nlohmann::json;
  static constexpr int64_t kLargest = int64_t{1} << 28;  ///< products of two sizes stay far from overflow

  ConfigFields(const Json& object, const std::string& where) : fields_(ModelConfig::of(object, where)) {}

  /// There, and not null.
  bool has(const char* name) const { return fields_.has(name); }
  const Json& raw(const char* name) const { return fields_.raw(name); }
  /// A whole number in 1 .. 2^28, or `fallback` where the field is missing; a missing one without fallback is an error.
  int64_t size(const char* name, int64_t fallback = 0) const {
    if (!has(name) && fallback > 0) return fallback;
    if (!has(name)) bad_input(where(), "the field '", name, "' is missing");
    const Json& value = raw(name);
    if (!value.is_number_integer() || value.get<double>() < 1 || value.get<double>() > static_cast<double>(kLargest))
      bad_input(where(), "'", name, "' must be a whole number in 1 .. 2^28; got ", value.dump());
    return value;
  }
  double number(const char* name, double fallback) const {
    if (!has(name)) return fallback;
    if (!raw(name).is_number()) bad_input(where(), "'", name, "' must be a number; got ", raw(name).dump());
    return raw(name);
  }
  double positive(const char* name, double fallback) const {
    double value = number(name, fallback);
    if (!(value > 0)) bad_input(where(), "'", name, "' must be above 0; got ", value);
    return value;
  }
  bool flag(const char* name, bool fallback) const {
    if (!has(name)) return fallback;
    if (!raw(name).is_boolean()) bad_input(where(), "'", name, "' must be true or false; got ", raw(name).dump());
    return raw(name);
  }
  std::string text(const char* name, const std::string& fallback) const {
    if (!has(name)) return fallback;
    if (!raw(name).is_string()) bad_input(where(), "'", name, "' must be a text; got ", raw(name).dump());
    return raw(name);
  }
  /// Throws where a field that would change the computation has another value than the one that is implemented.
  void only(const char* name, bool value) const {
    if (flag(name, value) != value)
      bad_input(where(), "'", name, "': ", !value ? "true" : "false", " is not implemented");
  }
  void ignore(const std::vector<const char*>& names) const { fields_.ignore(names); }
  /// Names a field that nobody asked for, and that says something: no setting is silently passed over.
  void finish() const {
    for (const auto& name : fields_.unknown()) {
      const Json& value = json()[name];
      bool says_nothing = value == false || (value.is_structured() && value.empty());
      if (!says_nothing)
        bad_input(where(), "the field '", name, "' (", value.dump().substr(0, 80),
                  ") is not known and may change what the model computes; remove it where it does not");
    }
  }

  const Json& json() const { return fields_.json(); }
  const std::string& where() const { return fields_.where(); }

 private:
  mutable ModelConfig fields_;  ///< which remembers what was asked for
};

}  // namespace rft
