#include "policy/chat_rows.h"

#include <nlohmann/json.hpp>

#include "rft/core/error.h"

namespace rft {
namespace {

using Json = nlohmann::ordered_json;

Json row_of(const Rows& rows, int64_t i) { return Json::parse(rows.json(i)); }

const char* column_of(const Json& row) { return row.contains("messages") ? "messages" : "prompt"; }

/// The row as a template's variables: its messages, and tools and what else has a meaning there.
Json conversation(const Json& row) {
  Json out{{"messages", row.at(column_of(row))}};
  for (const char* name : {"tools", "documents"})
    if (row.contains(name)) out[name] = row[name];
  if (row.contains("chat_template_kwargs") && row["chat_template_kwargs"].is_object())
    for (const auto& [name, value] : row["chat_template_kwargs"].items()) out[name] = value;
  return out;
}

/// render(text) of the conversation; what the template says against it is said of the row.
template <class Render>
auto rendered_by(const Rows& rows, int64_t i, Render render, const Json& conversation) {
  try {
    return render(conversation.dump());
  } catch (const UserError& error) {
    bad_input(rows.where(i), error.what());
  }
}

std::string rendered(const Rows& rows, int64_t i, const ChatTemplate& chat, const Json& conversation) {
  return rendered_by(
      rows, i, [&](const std::string& text) { return chat.render(text); }, conversation);
}

}  // namespace

bool asks_by_messages(const Rows& rows, int64_t i) {
  if (rows.has(i, "messages")) return !rows.has(i, "prompt");
  return rows.has(i, "prompt") && row_of(rows, i)["prompt"].is_array();
}

bool answers_by_messages(const Rows& rows, int64_t i, const std::string& column) {
  return rows.has(i, column) && row_of(rows, i)[column].is_array();
}

std::string asked_text(const Rows& rows, int64_t i, const ChatTemplate& chat, bool answered) {
  Json out = conversation(row_of(rows, i));
  if (answered) {
    Json& messages = out["messages"];
    bool ends = messages.is_array() && !messages.empty() && messages.back().is_object() &&
                messages.back().value("role", Json()) == "assistant";
    if (!ends) bad_input(rows.where(i), "the last of `messages` must be the assistant's answer, which is learned");
    messages.erase(messages.size() - 1);
  }
  out["add_generation_prompt"] = true;
  return rendered(rows, i, chat, out);
}

std::vector<std::pair<std::string, std::string>> turns_of(const Rows& rows, int64_t i, const ChatTemplate& chat) {
  Json part = conversation(row_of(rows, i)), messages = part["messages"];
  std::vector<std::pair<std::string, std::string>> out;
  part["messages"] = Json::array();
  for (const Json& message : messages) {
    bool answers = message.is_object() && message.value("role", Json()) == "assistant";
    std::string before;
    part["add_generation_prompt"] = true;
    if (answers) before = rendered(rows, i, chat, part);
    part["messages"].push_back(message);
    part["add_generation_prompt"] = false;
    if (answers) out.emplace_back(std::move(before), rendered(rows, i, chat, part));
  }
  if (out.empty()) bad_input(rows.where(i), "`messages` must hold an answer of the assistant's, which is learned");
  return out;
}

std::vector<std::pair<std::string, std::string>> marked_turns_of(const Rows& rows, int64_t i,
                                                                 const ChatTemplate& chat) {
  auto [text, answers] = rendered_by(
      rows, i, [&](const std::string& given) { return chat.render_marked(given); }, conversation(row_of(rows, i)));
  if (answers.empty())
    bad_input(rows.where(i),
              "the chat template marks no part of this conversation with {% generation %}; learn the answers that "
              "`policy.assistant_turns: last` or `all` find, or give the template such blocks");
  std::vector<std::pair<std::string, std::string>> out;
  for (const auto& [begin, end] : answers) out.emplace_back(text.substr(0, begin), text.substr(0, end));
  return out;
}

std::string whole_text(const Rows& rows, int64_t i, const ChatTemplate& chat, const std::string& column) {
  Json row = row_of(rows, i), out = conversation(row);
  if (!column.empty())
    for (const auto& message : row[column]) out["messages"].push_back(message);
  out["add_generation_prompt"] = false;
  return rendered(rows, i, chat, out);
}

}  // namespace rft
