#include "core/model_config.h"

#include <algorithm>

#include "rft/core/error.h"
#include "rft/core/json_depth.h"
#include "rft/core/text.h"

namespace rft {

ModelConfig::ModelConfig(const std::string& json, std::string where) : where_(std::move(where)) {
  if (too_deep_at(json, 64)) bad_input(where_, "the JSON nests deeper than 64");
  json_ = nlohmann::json::parse(json, nullptr, false);
  if (json_.is_discarded() || !json_.is_object()) bad_input(where_, "this is not a JSON object");
}

ModelConfig ModelConfig::of(nlohmann::json object, std::string where) {
  ModelConfig out;
  out.json_ = std::move(object), out.where_ = std::move(where);
  return out;
}

const nlohmann::json& ModelConfig::raw(const char* key) {
  static const nlohmann::json none;
  known_.insert(key);
  auto found = json_.find(key);
  return found == json_.end() ? none : *found;
}

bool ModelConfig::has(const char* key) { return !raw(key).is_null(); }

void ModelConfig::refuse(const char* key, const std::string& rule) const {
  auto found = json_.find(key);
  bad_input(where_, "`", key, "` ", rule, "; got ", found == json_.end() ? "nothing" : found->dump());
}

int64_t ModelConfig::integer(const char* key, int64_t missing) {
  if (!has(key)) return missing;
  const auto& value = raw(key);
  if (!value.is_number_integer() || value.get<double>() < 0 || value.get<double>() > 1e12)
    refuse(key, "must be a whole number, not negative");
  return value.get<int64_t>();
}

double ModelConfig::number(const char* key, double missing) {
  if (!has(key)) return missing;
  if (!raw(key).is_number()) refuse(key, "must be a number");
  return raw(key).get<double>();
}

bool ModelConfig::flag(const char* key, bool missing) {
  if (!has(key)) return missing;
  if (!raw(key).is_boolean()) refuse(key, "must be true or false");
  return raw(key).get<bool>();
}

std::string ModelConfig::text(const char* key, const std::string& missing) {
  if (!has(key)) return missing;
  if (!raw(key).is_string()) refuse(key, "must be a text");
  return raw(key).get<std::string>();
}

std::vector<std::string> ModelConfig::texts(const char* key, const std::vector<std::string>& missing) {
  if (!has(key)) return missing;
  const auto& value = raw(key);
  if (!value.is_array() || !std::all_of(value.begin(), value.end(), [](const auto& x) { return x.is_string(); }))
    refuse(key, "must be a list of texts");
  return value.get<std::vector<std::string>>();
}

std::vector<int64_t> ModelConfig::integers(const char* key, const std::vector<int64_t>& missing, size_t count) {
  if (!has(key)) return missing;
  const auto& value = raw(key);
  if (value.is_number_integer() && count) return std::vector<int64_t>(count, integer(key, 0));
  if (!value.is_array() ||
      !std::all_of(value.begin(), value.end(), [](const auto& x) { return x.is_number_integer(); }))
    refuse(key, "must be a list of whole numbers");
  auto out = value.get<std::vector<int64_t>>();
  if (count && out.size() != count) refuse(key, cat("must have ", count, " items"));
  return out;
}

std::vector<double> ModelConfig::numbers(const char* key, const std::vector<double>& missing) {
  if (!has(key)) return missing;
  const auto& value = raw(key);
  if (!value.is_array() || !std::all_of(value.begin(), value.end(), [](const auto& x) { return x.is_number(); }))
    refuse(key, "must be a list of numbers");
  return value.get<std::vector<double>>();
}

void ModelConfig::only(const char* key, const std::vector<nlohmann::json>& allowed) {
  if (!has(key) || std::find(allowed.begin(), allowed.end(), raw(key)) != allowed.end()) return;
  std::vector<std::string> names;
  for (const auto& value : allowed) names.push_back(value.dump());
  refuse(key, allowed.empty() ? "is not supported" : "can only be " + join(names, " or "));
}

void ModelConfig::ignore(const std::vector<const char*>& keys) { known_.insert(keys.begin(), keys.end()); }

std::vector<std::string> ModelConfig::unknown() const {
  std::vector<std::string> out;
  for (const auto& [key, value] : json_.items())
    if (!key.starts_with("_") && !known_.count(key) && !value.is_null()) out.push_back(key);
  return out;
}

void ModelConfig::finish() const {
  for (const auto& key : unknown())
    bad_input(where_, "the field `", key, "` is not known, and might change what is computed; got ", json_[key].dump());
}

}  // namespace rft
