#pragma once
/// A part of tokenizer.json that knows its place, so that every complaint names it.
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "rft/core/error.h"
#include "rft/core/text.h"

namespace rft::text {

class Spec {
 public:
  Spec(const nlohmann::json& value, std::string file, std::string path = "", int depth = 0)
      : value_(value), file_(std::move(file)), path_(std::move(path)), depth_(depth) {}

  const nlohmann::json& value() const { return value_; }
  bool null() const { return value_.is_null(); }
  bool has(const char* key) const { return value_.is_object() && value_.contains(key) && !value_.at(key).is_null(); }

  template <class... Args>
  [[noreturn]] void refuse(const Args&... message) const {
    bad_input(file_, path_.empty() ? "the file" : "`" + path_ + "`", " ", message...);
  }

  /// A member; null where it is missing.
  Spec at(const char* key) const {
    if (!value_.is_object()) refuse("must be an object; got ", value_.type_name());
    auto found = value_.find(key);
    return Spec(found == value_.end() ? none() : *found, file_, path_.empty() ? key : path_ + "." + key, depth_);
  }
  std::string text(const char* key) const { return at(key).as_text(); }
  std::string text(const char* key, const std::string& missing) const { return has(key) ? text(key) : missing; }
  bool flag(const char* key) const {
    Spec member = at(key);
    if (!member.value_.is_boolean()) member.refuse("must be true or false; got ", member.value_.dump());
    return member.value_.get<bool>();
  }
  bool flag(const char* key, bool missing) const { return has(key) ? flag(key) : missing; }
  int64_t integer(const char* key) const { return at(key).as_integer(); }

  std::string as_text() const {
    if (!value_.is_string()) refuse("must be a string; got ", value_.type_name());
    return value_.get<std::string>();
  }
  /// An id or a count.
  int64_t as_integer() const {
    if (!value_.is_number_unsigned() || value_.get<uint64_t>() > 0x7FFFFFFF)
      refuse("must be a whole number in [0, 2^31); got ", value_.is_primitive() ? value_.dump() : value_.type_name());
    return value_.get<int64_t>();
  }
  /// A list's items, one level deeper. Nesting is limited, so that readers may call themselves.
  std::vector<Spec> items(const char* key) const {
    Spec list = at(key);
    if (!list.value_.is_array()) list.refuse("must be a list; got ", list.value_.type_name());
    if (depth_ >= 16) list.refuse("nests deeper than 16");
    std::vector<Spec> out;
    for (size_t i = 0; i < list.value_.size(); ++i)
      out.emplace_back(list.value_[i], file_, cat(list.path_, ".", i), depth_ + 1);
    return out;
  }
  /// The `type` of this part is not in `known`.
  [[noreturn]] void unknown_type(const std::vector<std::string>& known) const {
    refuse("of type '", text("type"), "' is not supported", suggestion(text("type"), known));
  }

  const std::string& file() const { return file_; }
  const std::string& path() const { return path_; }

 private:
  static const nlohmann::json& none() {
    static const nlohmann::json value;
    return value;
  }

  const nlohmann::json& value_;
  std::string file_, path_;
  int depth_;
};

}  // namespace rft::text
