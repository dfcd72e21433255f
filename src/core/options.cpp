#include "rft/core/options.h"

#include <charconv>
#include <cmath>

#include "rft/core/error.h"
#include "rft/core/text.h"

namespace rft {
namespace {

std::string kind_name(const Config& node) {
  switch (node.kind()) {
    case Config::Kind::null:
      return "nothing";
    case Config::Kind::list:
      return "a list";
    case Config::Kind::map:
      return "a block";
    default:
      return "'" + node.text() + "'";
  }
}

[[noreturn]] void wrong_type(const Config& node, const char* expected) {
  bad_input(node.place(), "expected ", expected, "; got ", kind_name(node));
}

void check_range(const Config& node, double value, const Limits& limits) {
  bool low = limits.min_excluded ? !(value > limits.min) : !(value >= limits.min);
  if (low || !(value <= limits.max) || std::isnan(value))
    bad_input(node.place(), "must be ", limits.text(), "; got ", node.text());
}

double read_double(const Config& node, const Limits& limits) {
  if (!node.is_scalar() || node.quoted()) wrong_type(node, "a number");
  std::string text = node.text();
  if (text == ".inf" || text == "+.inf") text = "inf";
  if (text == "-.inf") text = "-inf";
  double value = 0;
  const char* begin = text.c_str() + (text[0] == '+');
  auto [end, error] = std::from_chars(begin, text.c_str() + text.size(), value);
  if (error != std::errc() || *end) wrong_type(node, "a number");
  check_range(node, value, limits);
  return value;
}

int64_t read_integer(const Config& node, const Limits& limits) {
  if (!node.is_scalar() || node.quoted()) wrong_type(node, "a whole number");
  int64_t value = 0;
  const std::string& text = node.text();
  auto [end, error] = std::from_chars(text.c_str() + (text[0] == '+'), text.c_str() + text.size(), value);
  if (error != std::errc() || *end) wrong_type(node, "a whole number");
  check_range(node, static_cast<double>(value), limits);
  return value;
}

bool read_bool(const Config& node) {
  if (node.is_scalar() && !node.quoted()) {
    if (node.text() == "true" || node.text() == "True") return true;
    if (node.text() == "false" || node.text() == "False") return false;
  }
  wrong_type(node, "true or false");
}

std::string read_string(const Config& node, const Limits& limits) {
  if (!node.is_scalar()) wrong_type(node, "a text");
  if (limits.choices.empty()) return node.text();
  for (const auto& choice : limits.choices)
    if (choice == node.text()) return choice;
  bad_input(node.place(), "must be one of ", join(limits.choices, ", "), "; got '", node.text(), "'",
            nearest(node.text(), limits.choices).empty() ? "" : suggestion(node.text(), limits.choices));
}

/// A single value stands for a list of one.
template <class T, class Read>
std::vector<T> read_list(const Config& node, Read read) {
  std::vector<T> out;
  if (!node.is_list()) return {read(node)};
  for (const auto& [key, item] : node.items()) out.push_back(read(item));
  return out;
}

Config number_node(double value) { return Config::scalar(number_text(value)); }
Config text_node(const std::string& value) {
  // A text that reads as a number or a truth value keeps its quotes.
  double number;
  auto [end, error] = std::from_chars(value.data(), value.data() + value.size(), number);
  bool looks_other =
      (error == std::errc() && end == value.data() + value.size()) || value == "true" || value == "false";
  return Config::scalar(value, looks_other);
}

}  // namespace

std::string number_text(double value) {
  if (std::isinf(value)) return value > 0 ? ".inf" : "-.inf";
  if (std::isnan(value)) return ".nan";
  char buffer[32];
  auto [end, error] = std::to_chars(buffer, buffer + sizeof buffer, value);
  (void)error;
  return {buffer, end};
}

std::string Limits::text() const {
  if (!choices.empty()) return join(choices, " | ");
  bool low = std::isfinite(min), high = std::isfinite(max);
  if (low && high) return cat(min_excluded ? "(" : "[", number_text(min), ", ", number_text(max), "]");
  if (low) return cat(min_excluded ? "> " : ">= ", number_text(min));
  if (high) return cat("<= ", number_text(max));
  return "";
}

// ---- reading -------------------------------------------------------------------------------------------------------

OptionReader::OptionReader(const Config& node) : node_(node) {
  if (!node.is_map() && !node.is_null()) wrong_type(node, "a block of options");
}

const Config* OptionReader::take(const char* name, const Limits& limits) {
  known_.insert(name);
  const Config* found = node_.find(name);
  if (!found && limits.required) bad_input(node_.place(), "the option '", name, "' is required");
  return found;
}

void OptionReader::option(const char* name, bool& value, const char*, const Limits& limits) {
  if (auto* node = take(name, limits)) value = read_bool(*node);
}
void OptionReader::option(const char* name, int64_t& value, const char*, const Limits& limits) {
  if (auto* node = take(name, limits)) value = read_integer(*node, limits);
}
void OptionReader::option(const char* name, double& value, const char*, const Limits& limits) {
  if (auto* node = take(name, limits)) value = read_double(*node, limits);
}
void OptionReader::option(const char* name, std::string& value, const char*, const Limits& limits) {
  if (auto* node = take(name, limits)) value = read_string(*node, limits);
}
void OptionReader::option(const char* name, std::optional<int64_t>& value, const char*, const Limits& limits) {
  if (auto* node = take(name, limits)) {
    if (node->is_null() || (node->is_scalar() && node->text() == "null"))
      value.reset();
    else
      value = read_integer(*node, limits);
  }
}
void OptionReader::option(const char* name, std::optional<double>& value, const char*, const Limits& limits) {
  if (auto* node = take(name, limits)) {
    if (node->is_null() || (node->is_scalar() && node->text() == "null"))
      value.reset();
    else
      value = read_double(*node, limits);
  }
}
void OptionReader::option(const char* name, std::vector<std::string>& value, const char*, const Limits& limits) {
  if (auto* node = take(name, limits))
    value = read_list<std::string>(*node, [&](const Config& item) { return read_string(item, limits); });
}
void OptionReader::option(const char* name, std::vector<double>& value, const char*, const Limits& limits) {
  if (auto* node = take(name, limits))
    value = read_list<double>(*node, [&](const Config& item) { return read_double(item, limits); });
}
void OptionReader::option(const char* name, NamedNumbers& value, const char*, const Limits& limits) {
  if (auto* node = take(name, limits)) {
    if (!node->is_map() && !node->is_null()) wrong_type(*node, "a block of names and numbers");
    value.clear();
    for (const auto& [key, item] : node->items()) value.emplace_back(key, read_double(item, limits));
  }
}
void OptionReader::option(const char* name, std::vector<Config>& value, const char*, const Limits& limits) {
  if (auto* node = take(name, limits)) {
    if (!node->is_list()) wrong_type(*node, "a list of blocks");
    value.clear();
    for (const auto& [key, item] : node->items()) value.push_back(item);
  }
}

void OptionReader::block(const char* name, const std::function<void(OptionVisitor&)>& fields, const char*) {
  static const Config nothing;
  const Config* node = take(name, {});
  OptionReader inner(node ? *node : nothing);
  fields(inner);
  inner.finish();
}

void OptionReader::optional_block(const char* name, bool& present, const std::function<void(OptionVisitor&)>& fields,
                                  const char*) {
  const Config* node = take(name, {});
  present = node && !node->is_null();
  if (!present) return;
  OptionReader inner(*node);
  fields(inner);
  inner.finish();
}

void OptionReader::finish() const {
  for (const auto& [key, value] : node_.items()) {
    if (known_.count(key)) continue;
    bad_input(value.place(), "there is no option '", key, "'",
              suggestion(key, std::vector<std::string>(known_.begin(), known_.end())));
  }
}

// ---- writing -------------------------------------------------------------------------------------------------------

void OptionWriter::option(const char* name, bool& value, const char*, const Limits&) {
  into_.set(name, Config::scalar(value ? "true" : "false"));
}
void OptionWriter::option(const char* name, int64_t& value, const char*, const Limits&) {
  into_.set(name, Config::scalar(std::to_string(value)));
}
void OptionWriter::option(const char* name, double& value, const char*, const Limits&) {
  into_.set(name, number_node(value));
}
void OptionWriter::option(const char* name, std::string& value, const char*, const Limits&) {
  into_.set(name, text_node(value));
}
void OptionWriter::option(const char* name, std::optional<int64_t>& value, const char*, const Limits&) {
  into_.set(name, value ? Config::scalar(std::to_string(*value)) : Config());
}
void OptionWriter::option(const char* name, std::optional<double>& value, const char*, const Limits&) {
  into_.set(name, value ? number_node(*value) : Config());
}
void OptionWriter::option(const char* name, std::vector<std::string>& value, const char*, const Limits&) {
  Config list = Config::list();
  for (const auto& item : value) list.append(text_node(item));
  into_.set(name, list);
}
void OptionWriter::option(const char* name, std::vector<double>& value, const char*, const Limits&) {
  Config list = Config::list();
  for (double item : value) list.append(number_node(item));
  into_.set(name, list);
}
void OptionWriter::option(const char* name, NamedNumbers& value, const char*, const Limits&) {
  Config block = Config::map();
  for (const auto& [key, number] : value) block.set(key, number_node(number));
  into_.set(name, block);
}
void OptionWriter::option(const char* name, std::vector<Config>& value, const char*, const Limits&) {
  Config list = Config::list();
  for (const auto& item : value) list.append(item);
  into_.set(name, list);
}
void OptionWriter::block(const char* name, const std::function<void(OptionVisitor&)>& fields, const char*) {
  Config inner = Config::map();
  OptionWriter writer(inner);
  fields(writer);
  into_.set(name, inner);
}
void OptionWriter::optional_block(const char* name, bool& present, const std::function<void(OptionVisitor&)>& fields,
                                  const char* help) {
  if (present) block(name, fields, help);
}

// ---- describing ----------------------------------------------------------------------------------------------------

namespace {

class OptionTable : public OptionVisitor {
 public:
  explicit OptionTable(std::string prefix, std::vector<OptionInfo>& rows) : prefix_(std::move(prefix)), rows_(rows) {}
  void option(const char* n, bool& v, const char* h, const Limits& l) override {
    add(n, "bool", v ? "true" : "false", h, l);
  }
  void option(const char* n, int64_t& v, const char* h, const Limits& l) override {
    add(n, "int", std::to_string(v), h, l);
  }
  void option(const char* n, double& v, const char* h, const Limits& l) override {
    add(n, "float", number_text(v), h, l);
  }
  void option(const char* n, std::string& v, const char* h, const Limits& l) override { add(n, "text", v, h, l); }
  void option(const char* n, std::optional<int64_t>& v, const char* h, const Limits& l) override {
    add(n, "int or null", v ? std::to_string(*v) : "null", h, l);
  }
  void option(const char* n, std::optional<double>& v, const char* h, const Limits& l) override {
    add(n, "float or null", v ? number_text(*v) : "null", h, l);
  }
  void option(const char* n, std::vector<std::string>& v, const char* h, const Limits& l) override {
    add(n, "list of text", "[" + join(v, ", ") + "]", h, l);
  }
  void option(const char* n, std::vector<double>& v, const char* h, const Limits& l) override {
    std::vector<std::string> texts;
    for (double x : v) texts.push_back(number_text(x));
    add(n, "list of float", "[" + join(texts, ", ") + "]", h, l);
  }
  void option(const char* n, NamedNumbers& v, const char* h, const Limits& l) override {
    std::vector<std::string> texts;
    for (const auto& [key, number] : v) texts.push_back(key + ": " + number_text(number));
    add(n, "block of numbers", "{" + join(texts, ", ") + "}", h, l);
  }
  void option(const char* n, std::vector<Config>&, const char* h, const Limits& l) override {
    add(n, "list of blocks", "[]", h, l);
  }
  void block(const char* name, const std::function<void(OptionVisitor&)>& fields, const char*) override {
    OptionTable inner(prefix_ + name + ".", rows_);
    fields(inner);
  }
  void optional_block(const char* name, bool&, const std::function<void(OptionVisitor&)>& fields,
                      const char* help) override {
    rows_.push_back({prefix_ + name, "block or null", "null", "", "", help});
    block(name, fields, help);
  }

 private:
  void add(const char* name, const char* type, const std::string& value, const char* help, const Limits& limits) {
    rows_.push_back({prefix_ + name, type, limits.required ? "(required)" : value, limits.text(), limits.unit, help});
  }
  std::string prefix_;
  std::vector<OptionInfo>& rows_;
};

}  // namespace

std::vector<OptionInfo> describe_options(const std::function<void(OptionVisitor&)>& visit) {
  std::vector<OptionInfo> rows;
  OptionTable table("", rows);
  visit(table);
  return rows;
}

}  // namespace rft
