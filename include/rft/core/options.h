#pragma once
/// Each option is written once, in its struct's visit(): name, variable (whose initial value is the default), meaning,
/// limits. Reading YAML, rejecting unknown keys, writing the resolved config and the option tables are visitors.
///
///   struct Options {
///     double clip_low = 0.2;
///     void visit(OptionVisitor& v) { v.option("clip_low", clip_low, "distance below 1", at_least(0)); }
///   };
#include <functional>
#include <limits>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "rft/core/config.h"

namespace rft {

/// What a value may be, and its unit.
struct Limits {
  double min = -std::numeric_limits<double>::infinity();
  double max = std::numeric_limits<double>::infinity();
  bool min_excluded = false;
  std::vector<std::string> choices;
  std::string unit;
  bool required = false;

  Limits in(std::string u) const {
    Limits l = *this;
    l.unit = std::move(u);
    return l;
  }
  Limits must() const {
    Limits l = *this;
    l.required = true;
    return l;
  }
  /// "[0, 1]", ">= 0", "a | b"; "" where anything goes.
  std::string text() const;
};
inline Limits at_least(double min) {
  Limits l;
  l.min = min;
  return l;
}
inline Limits above(double min) {
  Limits l;
  l.min = min;
  l.min_excluded = true;
  return l;
}
inline Limits between(double min, double max) {
  Limits l;
  l.min = min;
  l.max = max;
  return l;
}
inline Limits one_of(std::vector<std::string> choices) {
  Limits l;
  l.choices = std::move(choices);
  return l;
}
inline Limits required() {
  Limits l;
  l.required = true;
  return l;
}
inline Limits unit(std::string name) {
  Limits l;
  l.unit = std::move(name);
  return l;
}

/// Numbers under names that whoever writes the recipe chooses, in the order in which they are written.
using NamedNumbers = std::vector<std::pair<std::string, double>>;

class OptionVisitor {
 public:
  virtual ~OptionVisitor() = default;
  virtual void option(const char* name, bool& value, const char* help, const Limits& limits = {}) = 0;
  virtual void option(const char* name, int64_t& value, const char* help, const Limits& limits = {}) = 0;
  virtual void option(const char* name, double& value, const char* help, const Limits& limits = {}) = 0;
  virtual void option(const char* name, std::string& value, const char* help, const Limits& limits = {}) = 0;
  virtual void option(const char* name, std::optional<int64_t>& value, const char* help, const Limits& limits = {}) = 0;
  virtual void option(const char* name, std::optional<double>& value, const char* help, const Limits& limits = {}) = 0;
  virtual void option(const char* name, std::vector<std::string>& value, const char* help,
                      const Limits& limits = {}) = 0;
  virtual void option(const char* name, std::vector<double>& value, const char* help, const Limits& limits = {}) = 0;
  virtual void option(const char* name, NamedNumbers& value, const char* help, const Limits& limits = {}) = 0;
  /// A list of blocks that another registry reads (a combination's parts).
  virtual void option(const char* name, std::vector<Config>& value, const char* help, const Limits& limits = {}) = 0;
  /// A nested block: `fields` visits what is inside.
  virtual void block(const char* name, const std::function<void(OptionVisitor&)>& fields, const char* help) = 0;
  /// A nested block that is off unless written (lora: {...}); `present` says whether it was.
  virtual void optional_block(const char* name, bool& present, const std::function<void(OptionVisitor&)>& fields,
                              const char* help) = 0;
};

/// Fills options from a map. Errors name file:line:column, the option's path, what was expected and what was found.
class OptionReader : public OptionVisitor {
 public:
  /// `node` must be a map, or null for "all defaults". It must outlive the reader.
  explicit OptionReader(const Config& node);
  void option(const char*, bool&, const char*, const Limits&) override;
  void option(const char*, int64_t&, const char*, const Limits&) override;
  void option(const char*, double&, const char*, const Limits&) override;
  void option(const char*, std::string&, const char*, const Limits&) override;
  void option(const char*, std::optional<int64_t>&, const char*, const Limits&) override;
  void option(const char*, std::optional<double>&, const char*, const Limits&) override;
  void option(const char*, std::vector<std::string>&, const char*, const Limits&) override;
  void option(const char*, std::vector<double>&, const char*, const Limits&) override;
  void option(const char*, NamedNumbers&, const char*, const Limits&) override;
  void option(const char*, std::vector<Config>&, const char*, const Limits&) override;
  void block(const char*, const std::function<void(OptionVisitor&)>&, const char*) override;
  void optional_block(const char*, bool&, const std::function<void(OptionVisitor&)>&, const char*) override;

  /// `key` is read by somebody else (the registry's "type", a combination's "weight").
  void allow(const std::string& key) { known_.insert(key); }
  /// Throws UserError on keys that nobody asked for, with the nearest known one.
  void finish() const;
  const Config& node() const { return node_; }

 private:
  const Config* take(const char* name, const Limits& limits);
  const Config& node_;
  std::set<std::string> known_;
};

/// Writes options with their present values: the resolved config.
class OptionWriter : public OptionVisitor {
 public:
  explicit OptionWriter(Config& into) : into_(into) {}
  void option(const char*, bool&, const char*, const Limits&) override;
  void option(const char*, int64_t&, const char*, const Limits&) override;
  void option(const char*, double&, const char*, const Limits&) override;
  void option(const char*, std::string&, const char*, const Limits&) override;
  void option(const char*, std::optional<int64_t>&, const char*, const Limits&) override;
  void option(const char*, std::optional<double>&, const char*, const Limits&) override;
  void option(const char*, std::vector<std::string>&, const char*, const Limits&) override;
  void option(const char*, std::vector<double>&, const char*, const Limits&) override;
  void option(const char*, NamedNumbers&, const char*, const Limits&) override;
  void option(const char*, std::vector<Config>&, const char*, const Limits&) override;
  void block(const char*, const std::function<void(OptionVisitor&)>&, const char*) override;
  void optional_block(const char*, bool&, const std::function<void(OptionVisitor&)>&, const char*) override;

 private:
  Config& into_;
};

/// One line of an option table.
struct OptionInfo {
  std::string name, type, default_value, range, unit, help;
};
/// The options that `visit` names, nested ones as "block.name".
std::vector<OptionInfo> describe_options(const std::function<void(OptionVisitor&)>& visit);

/// Reads a whole block into T (which has visit()) and rejects unknown keys.
template <class T>
T read_options(const Config& node, const std::vector<std::string>& also_allowed = {}) {
  T options;
  OptionReader reader(node);
  for (const auto& key : also_allowed) reader.allow(key);
  options.visit(reader);
  reader.finish();
  return options;
}

/// The shortest decimal text that reads back as `value`.
std::string number_text(double value);

}  // namespace rft
