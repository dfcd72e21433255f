#include "rft/text/chat_template.h"

#include <nlohmann/json.hpp>

#include "rft/core/error.h"
#include "rft/core/json_depth.h"
#include "rft/core/text.h"
#include "rft/io/files.h"
#include "text/jinja_interpreter.h"
#include "text/tokenizer_files.h"

namespace rft {
namespace {

using Json = nlohmann::ordered_json;

struct Source {
  std::string text, where;
};

/// "" where the directory has none.
Source find_source(const std::string& directory, bool with_tools) {
  std::string file = directory + "/chat_template.jinja";
  if (file_exists(file)) return {read_text(file), file};
  auto config = text::read_tokenizer_config(directory);
  auto found = config.find("chat_template");
  std::string where = directory + "/tokenizer_config.json chat_template";
  if (found == config.end() || found->is_null()) return {};
  if (found->is_string()) return {found->get<std::string>(), where};
  std::string usual;
  for (const auto& one : *found) {
    if (!one.is_object() || !one.contains("name") || !one.contains("template")) continue;
    if (with_tools && one["name"] == "tool_use") return {one["template"].get<std::string>(), where};
    if (one["name"] == "default") usual = one["template"].get<std::string>();
  }
  return {usual, where};
}

/// The special tokens' texts, as tokenizer_config.json and special_tokens_map.json give them.
Json special_tokens(const std::string& directory) {
  Json out = Json::object();
  const auto config = text::read_tokenizer_config(directory);
  for (const auto& [key, value] : config.items()) {
    if (!key.ends_with("_token")) continue;
    if (value.is_string()) out[key] = value.get<std::string>();
    if (value.is_object() && value.contains("content") && value["content"].is_string())
      out[key] = value["content"].get<std::string>();
  }
  return out;
}

/// Reasoning goes by several names; the template finds it under the newest and, for some, the oldest.
void alias_reasoning(Json& message) {
  for (const char* name : {"reasoning_content", "thinking", "reasoning"}) {
    auto found = message.find(name);
    if (found == message.end() || found->is_null()) continue;
    Json reasoning = *found;
    message["reasoning_content"] = reasoning;
    if (!message.contains("thinking")) message["thinking"] = reasoning;
    return;
  }
}

}  // namespace

struct ChatTemplate::Impl {
  jinja::Body body;
  std::string where;
  Json tokens;
};

ChatTemplate ChatTemplate::parse(const std::string& source, const std::string& where, const std::string& tokens) {
  auto impl = std::make_shared<Impl>();
  impl->body = jinja::parse(source, where);
  impl->where = where;
  impl->tokens = Json::parse(tokens);
  ChatTemplate out;
  out.impl_ = std::move(impl);
  return out;
}

bool ChatTemplate::exists(const std::string& directory) { return !find_source(directory, false).text.empty(); }

ChatTemplate ChatTemplate::load(const std::string& directory, bool with_tools) {
  Source source = find_source(directory, with_tools);
  if (source.text.empty())
    bad_input(directory,
              "the model has no chat template: there is no chat_template.jinja, and no `chat_template` in "
              "tokenizer_config.json");
  return parse(source.text, source.where, special_tokens(directory).dump());
}

namespace {

/// The conversation's variables, as templates expect them.
Json variables_of(const std::string& conversation, Json variables) {
  constexpr int kMaxDepth = 64;
  if (too_deep_at(conversation, kMaxDepth)) bad_input("conversation", "nests deeper than ", kMaxDepth);
  Json given = Json::parse(conversation, nullptr, false);
  if (!given.is_object() || !given.contains("messages") || !given["messages"].is_array())
    bad_input("conversation", "`messages` must be a list of messages {\"role\", \"content\"}");
  if (given["messages"].empty()) bad_input("conversation", "`messages` must hold at least one message; got none");
  for (auto& message : given["messages"]) {
    if (!message.is_object()) bad_input("conversation", "a message must be an object; got ", message.type_name());
    Json known = Json::object();  // templates write "None" for null, and know what to do where nothing is
    for (const auto& [key, value] : message.items())
      if (!value.is_null()) known[key] = value;
    message = std::move(known);
    alias_reasoning(message);
  }
  for (const char* name : {"tools", "documents"}) variables[name] = nullptr;
  variables["add_generation_prompt"] = false;
  for (const auto& [key, value] : given.items()) variables[key] = value;
  return variables;
}

jinja::Rendered rendered(const ChatTemplate::Impl& impl, const std::string& conversation) {
  Json variables = variables_of(conversation, impl.tokens);
  return jinja::render(impl.body, *jinja::Value::from_json(variables).entries, impl.where);
}

}  // namespace

std::string ChatTemplate::render(const std::string& conversation) const { return rendered(*impl_, conversation).text; }

ChatTemplate::Marked ChatTemplate::render_marked(const std::string& conversation) const {
  auto out = rendered(*impl_, conversation);
  if (out.captured_line)
    bad_input(cat(impl_->where, ":", out.captured_line),
              "this {% generation %} is inside a macro, a set block or a filter block, so that what it marks can't be "
              "found in the text");
  return {std::move(out.text), std::move(out.marked)};
}

}  // namespace rft
