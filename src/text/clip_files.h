#pragma once
/// CLIPTokenizer directories without a tokenizer.json: vocab.json and merges.txt.
#include <nlohmann/json.hpp>
#include <string>

namespace rft::text {

/// The end of a word in the vocabulary.
inline constexpr const char* kClipWordEnd = "</w>";

/// Decoded text with a space in place of every word end.
std::string spaced_words(std::string text);
/// Without the white space at both ends, as Python's str.strip.
std::string stripped(const std::string& text);

/// Adds the special tokens' names that a CLIPTokenizer has where `config` says nothing of them.
void add_clip_defaults(nlohmann::json& config);

/// tokenizer.json as transformers makes it of `vocab` (vocab.json), `merges` (merges.txt's text), the merged
/// tokenizer_config.json and `added` (added_tokens.json or an empty object). Throws UserError naming `where`.
nlohmann::json clip_tokenizer_file(const nlohmann::json& vocab, const std::string& merges, const nlohmann::json& config,
                                   const nlohmann::json& added, const std::string& where);

}  // namespace rft::text
