#pragma once
/// config.json of a model, field by field: what is read, what is fixed, and nothing left over.
#include <nlohmann/json.hpp>
#include <set>
#include <string>
#include <vector>

namespace rft {

/// Every field is read once under its name; finish() refuses what nobody asked for, so that no setting is silently
/// ignored. Errors are UserErrors that name file and field.
class ModelConfig {
 public:
  ModelConfig(const std::string& json, std::string where);
  /// Of what is parsed already, an object.
  static ModelConfig of(nlohmann::json object, std::string where);

  /// A missing or null field is `missing`.
  int64_t integer(const char* key, int64_t missing);
  double number(const char* key, double missing);
  bool flag(const char* key, bool missing);
  std::string text(const char* key, const std::string& missing);
  std::vector<std::string> texts(const char* key, const std::vector<std::string>& missing);
  /// A list, or one number repeated `count` times.
  std::vector<int64_t> integers(const char* key, const std::vector<int64_t>& missing, size_t count = 0);
  std::vector<double> numbers(const char* key, const std::vector<double>& missing);
  bool has(const char* key);  ///< present and not null
  /// The field as JSON, null where it is missing.
  const nlohmann::json& raw(const char* key);

  /// The field must be missing, null or one of `allowed`: other values would change the computation.
  void only(const char* key, const std::vector<nlohmann::json>& allowed = {});
  /// Fields that change nothing that is computed here. All names that start with "_" are.
  void ignore(const std::vector<const char*>& keys);
  /// The fields that were neither read nor ignored, and are not null.
  std::vector<std::string> unknown() const;
  /// Throws where there is one.
  void finish() const;

  [[noreturn]] void refuse(const char* key, const std::string& rule) const;
  const std::string& where() const { return where_; }
  const nlohmann::json& json() const { return json_; }

 private:
  ModelConfig() = default;

  nlohmann::json json_;
  std::string where_;
  std::set<std::string> known_;
};

}  // namespace rft
