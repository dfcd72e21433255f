#include "rft/core/config.h"

#include <yaml-cpp/yaml.h>

#include <cstdlib>
#include <fstream>

#include "rft/core/error.h"
#include "rft/core/text.h"

namespace rft {
namespace {

constexpr int kMaxDepth = 32;
constexpr size_t kMaxFile = 16 << 20;

std::string position(const std::string& name, const YAML::Mark& mark) {
  return cat(name, ":", mark.line + 1, ":", mark.column + 1);
}

/// Replaces ${env:NAME}; a lone "$" or "${" of another kind stays as it is.
std::string expand_environment(const std::string& text, const std::string& where) {
  std::string out;
  size_t from = 0;
  for (size_t at; (at = text.find("${env:", from)) != std::string::npos;) {
    size_t end = text.find('}', at);
    if (end == std::string::npos) bad_input(where, "'${env:' has no closing '}' in '", text, "'");
    std::string name = text.substr(at + 6, end - at - 6);
    const char* value = std::getenv(name.c_str());
    if (!value) bad_input(where, "the environment variable '", name, "' is not set");
    out += text.substr(from, at - from) + value;
    from = end + 1;
  }
  return out + text.substr(from);
}

bool needs_quotes(const std::string& text) {
  if (text.empty() || text == "null" || text == "~" || text.front() == ' ' || text.back() == ' ') return true;
  if (std::string("-?:,[]{}#&*!|>'\"%@`").find(text.front()) != std::string::npos) {
    char* end = nullptr;
    std::strtod(text.c_str(), &end);
    if (*end != '\0') return true;  // "-1" and "-.5e3" need none
  }
  for (char c : text)
    if (static_cast<unsigned char>(c) < 0x20 || c == '#' || c == ',' || c == '[' || c == ']' || c == '{' || c == '}')
      return true;
  return text.find(": ") != std::string::npos || text.back() == ':';
}

std::string quote(const std::string& text) {
  bool control = false;
  for (char c : text) control |= static_cast<unsigned char>(c) < 0x20;
  if (control) return YAML::Dump(YAML::Load(YAML::Dump(YAML::Node(text))));
  std::string out = "'";
  for (char c : text) out += c == '\'' ? "''" : std::string(1, c);
  return out + "'";
}

void emit(const Config& node, int indent, std::string& out);

void emit_value(const Config& node, int indent, std::string& out) {
  if (node.is_map() || node.is_list()) {
    if (node.items().empty()) {
      out += node.is_map() ? " {}\n" : " []\n";
      return;
    }
    out += '\n';
    emit(node, indent + 2, out);
  } else if (node.is_null()) {
    out += " null\n";
  } else {
    out += " " + (node.quoted() || needs_quotes(node.text()) ? quote(node.text()) : node.text()) + "\n";
  }
}

void emit(const Config& node, int indent, std::string& out) {
  for (const auto& [key, value] : node.items()) {
    out += std::string(indent, ' ') + (node.is_map() ? (needs_quotes(key) ? quote(key) : key) + ":" : "-");
    emit_value(value, indent, out);
  }
}

}  // namespace

struct ConfigBuilder {
  std::string name;

  Config build(const YAML::Node& node, const std::string& path, int depth) const {
    Config out;
    out.where_ = position(name, node.Mark());
    out.path_ = path;
    if (depth > kMaxDepth) bad_input(out.where_, "blocks nest deeper than ", kMaxDepth);
    if (node.IsMap()) {
      fill_map(node, out, depth);
    } else if (node.IsSequence()) {
      out.kind_ = Config::Kind::list;
      for (size_t i = 0; i < node.size(); ++i)
        out.items_.emplace_back("", build(node[i], cat(path, path.empty() ? "" : ".", i), depth + 1));
    } else if (node.IsScalar()) {
      out.kind_ = Config::Kind::scalar;
      out.quoted_ = node.Tag() == "!";
      out.text_ = expand_environment(node.Scalar(), out.where_);
    }
    return out;
  }

  void fill_map(const YAML::Node& node, Config& out, int depth) const {
    out.kind_ = Config::Kind::map;
    for (const auto& entry : node) {
      std::string where = position(name, entry.first.Mark());
      if (!entry.first.IsScalar()) bad_input(where, "a key must be a plain word");
      std::string key = entry.first.Scalar();
      if (key == "<<") bad_input(where, "merge keys (<<) are not supported: write the values out");
      if (out.find(key)) bad_input(where, "the key '", key, "' is given twice; first at ", out.find(key)->where());
      out.items_.emplace_back(key, build(entry.second, out.path_.empty() ? key : out.path_ + "." + key, depth + 1));
    }
  }
};

Config Config::parse(const std::string& text, const std::string& name) {
  try {
    auto documents = YAML::LoadAll(text);
    if (documents.empty()) return Config::map();
    if (documents.size() > 1)
      bad_input(position(name, documents[1].Mark()), "a recipe is one YAML document; got ", documents.size());
    return ConfigBuilder{name}.build(documents[0], "", 0);
  } catch (const YAML::Exception& error) {
    bad_input(position(name, error.mark), "this is not YAML: ", error.msg);
  }
}

Config Config::load(const std::string& file, const std::vector<std::string>& overrides) {
  std::ifstream in(file, std::ios::binary);
  if (!in) bad_input(file, "this file can't be read");
  std::ostringstream content;
  content << in.rdbuf();
  if (content.str().size() > kMaxFile)
    bad_input(file, "a recipe is at most 16 MiB; got ", content.str().size(), " bytes");
  Config config = parse(content.str(), file);
  if (!config.is_map() && !config.is_list() && !config.is_null())
    bad_input(config.where_, "a recipe must be a map of blocks");
  for (const auto& assignment : overrides) config.apply_override(assignment);
  return config;
}

Config Config::scalar(std::string value, bool quoted) {
  Config out(Kind::scalar);
  out.text_ = std::move(value);
  out.quoted_ = quoted;
  return out;
}

const Config* Config::find(const std::string& key) const {
  if (kind_ != Kind::map) return nullptr;
  for (const auto& [name, value] : items_)
    if (name == key) return &value;
  return nullptr;
}

void Config::set(const std::string& key, Config value) {
  kind_ = Kind::map;
  for (auto& [name, existing] : items_)
    if (name == key) return void(existing = std::move(value));
  items_.emplace_back(key, std::move(value));
}

std::vector<std::string> Config::keys() const {
  std::vector<std::string> out;
  for (const auto& [key, value] : items_) out.push_back(key);
  return out;
}

std::string Config::place() const {
  if (where_.empty()) return path_.empty() ? "recipe" : path_;
  return path_.empty() ? where_ : where_ + " " + path_;
}

void Config::apply_override(const std::string& assignment) {
  std::string where = "command line: " + assignment;
  size_t equals = assignment.find('=');
  if (equals == std::string::npos || equals == 0) bad_input(where, "an override is written key.path=value");
  std::string path = assignment.substr(0, equals);
  Config value;
  try {
    value = ConfigBuilder{where}.build(YAML::Load(assignment.substr(equals + 1)), path, 0);
  } catch (const YAML::Exception& error) {
    bad_input(where, "the value is not YAML: ", error.msg);
  }
  value.where_ = where;
  Config* node = this;
  std::string walked;
  std::istringstream parts(path);
  for (std::string part; std::getline(parts, part, '.');) {
    if (part.empty()) bad_input(where, "the path has an empty part");
    walked += (walked.empty() ? "" : ".") + part;
    if (node->is_list()) {
      char* end = nullptr;
      size_t index = std::strtoul(part.c_str(), &end, 10);
      if (*end || index >= node->items_.size())
        bad_input(where, "'", node->path_, "' is a list of ", node->items_.size(), "; got index '", part, "'");
      node = &node->items_[index].second;
    } else if (node->is_map() || node->is_null()) {
      if (!node->find(part)) {
        Config child;
        child.where_ = where, child.path_ = walked;
        node->set(part, child);
      }
      node = const_cast<Config*>(node->find(part));
    } else {
      bad_input(where, "'", node->path_, "' is a value, not a block");
    }
  }
  *node = std::move(value);
}

std::string Config::to_yaml() const {
  std::string out;
  emit(*this, 0, out);
  return out;
}

}  // namespace rft
