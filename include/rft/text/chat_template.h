#pragma once
/// Conversations as text, by a model's own chat template.
#include <memory>
#include <string>
#include <utility>
#include <vector>

namespace rft {

/// A template in the part of Jinja2 that chat templates use, run as transformers runs it (trim_blocks, lstrip_blocks,
/// tojson without escapes, raise_exception, strftime_now, {% generation %}); what is not supported is an error that
/// names it and the line. It is bounded: 1 MiB of template, a million operations, 16 MiB of text. Immutable; may be
/// used from several threads.
class ChatTemplate {
 public:
  /// The directory's chat_template.jinja, else `chat_template` of tokenizer_config.json (of several named ones
  /// "tool_use" where `with_tools`, else "default"). Throws UserError where there is none, naming both.
  static ChatTemplate load(const std::string& directory, bool with_tools = false);
  /// Whether load() finds one.
  static bool exists(const std::string& directory);
  /// `special_tokens` is a JSON object: bos_token, eos_token, ... as the template sees them.
  static ChatTemplate parse(const std::string& source, const std::string& where,
                            const std::string& special_tokens = "{}");

  /// `conversation` is a JSON object: messages, and where given tools, documents, add_generation_prompt, and what else
  /// the template reads. A message's entries that are null are left out, as transformers does. Throws UserError where
  /// it doesn't parse, or the template refuses it.
  std::string render(const std::string& conversation) const;

  struct Marked {
    std::string text;  ///< as render() gives it
    std::vector<std::pair<size_t, size_t>>
        answers;  ///< bytes [first, second) of it, in order, none where it marks none
  };
  /// With what the template marks with {% generation %}, as transformers' return_assistant_tokens_mask finds it. Throws
  /// UserError as render() does, and where such a block is inside a macro, a set block or a filter block.
  Marked render_marked(const std::string& conversation) const;

  struct Impl;

 private:
  std::shared_ptr<const Impl> impl_;
};

}  // namespace rft
