#pragma once
/// Dataset rows that hold conversations, as text by the model's chat template.
#include <string>
#include <utility>
#include <vector>

#include "rft/io/rows.h"
#include "rft/text/chat_template.h"

namespace rft {

/// Whether row i asks by a list of messages: `messages`, or `prompt` where that is a list.
bool asks_by_messages(const Rows& rows, int64_t i);
/// Whether `column` of row i answers by a list of messages.
bool answers_by_messages(const Rows& rows, int64_t i, const std::string& column);

/// What the model goes on from: the row's messages, and what opens an answer. Where `answered`, a row's last message is
/// its answer, and left out. Throws UserError with file:line, as the template does.
std::string asked_text(const Rows& rows, int64_t i, const ChatTemplate& chat, bool answered);
/// For each of the row's messages that the assistant says, the conversation before it (with what opens an answer) and
/// with it. Throws UserError with file:line where it says none.
std::vector<std::pair<std::string, std::string>> turns_of(const Rows& rows, int64_t i, const ChatTemplate& chat);
/// For each stretch that the template marks with {% generation %}, the whole conversation up to its start and up to its
/// end. Throws UserError with file:line where it marks none.
std::vector<std::pair<std::string, std::string>> marked_turns_of(const Rows& rows, int64_t i, const ChatTemplate& chat);
/// The whole conversation: the row's messages and then those of `column` ("" for none).
std::string whole_text(const Rows& rows, int64_t i, const ChatTemplate& chat, const std::string& column);

}  // namespace rft
