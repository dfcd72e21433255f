#pragma once
/// A YAML file as a tree that remembers where everything stood.
#include <string>
#include <utility>
#include <vector>

namespace rft {

/// One node of a recipe. Strict: duplicate keys, anchors with merge keys, tabs and a second document are errors with
/// file:line:column. `${env:NAME}` in a scalar is replaced by the environment's value (an error where it is not set);
/// nothing else is expanded.
class Config {
 public:
  enum class Kind { null, scalar, list, map };

  /// Reads `file` and applies overrides of the form "key.path=value" (the value is YAML; lists by index:
  /// reward.0.weight). Throws UserError.
  static Config load(const std::string& file, const std::vector<std::string>& overrides = {});
  /// As load, from text; `name` stands for the file in messages.
  static Config parse(const std::string& text, const std::string& name = "<text>");
  static Config map() { return Config(Kind::map); }
  static Config list() { return Config(Kind::list); }
  static Config scalar(std::string value, bool quoted = false);

  Config() = default;

  Kind kind() const { return kind_; }
  bool is_map() const { return kind_ == Kind::map; }
  bool is_list() const { return kind_ == Kind::list; }
  bool is_scalar() const { return kind_ == Kind::scalar; }
  bool is_null() const { return kind_ == Kind::null; }
  /// A scalar's text, quotes removed.
  const std::string& text() const { return text_; }
  bool quoted() const { return quoted_; }

  /// A map's value, or nullptr.
  const Config* find(const std::string& key) const;
  /// Sets or replaces a map's value.
  void set(const std::string& key, Config value);
  void append(Config value) { items_.emplace_back("", std::move(value)); }
  /// (key, value) in the file's order; a list's keys are empty.
  const std::vector<std::pair<std::string, Config>>& items() const { return items_; }
  std::vector<std::string> keys() const;

  /// "file:line:column", or what was given on the command line.
  const std::string& where() const { return where_; }
  /// "objective.clip_low"
  const std::string& path() const { return path_; }
  /// where() and path() as an error's place: "recipe.yaml:3:5 objective.clip_low".
  std::string place() const;

  /// YAML text that parses to the same tree.
  std::string to_yaml() const;

 private:
  explicit Config(Kind kind) : kind_(kind) {}
  void apply_override(const std::string& assignment);
  friend struct ConfigBuilder;

  Kind kind_ = Kind::null;
  std::string text_;
  bool quoted_ = false;
  std::vector<std::pair<std::string, Config>> items_;
  std::string where_, path_;
};

}  // namespace rft
