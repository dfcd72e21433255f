#pragma once
/// What a tokenizer's directory holds, brought into the forms that tokenizer.json and tokenizer_config.json have.
#include <nlohmann/json.hpp>
#include <string>

namespace rft::text {

/// A JSON object. Throws UserError naming `file`.
nlohmann::json parse_object(const std::string& content, const std::string& file);

/// tokenizer_config.json with special_tokens_map.json's tokens in it, as transformers merges them, and the names that a
/// CLIPTokenizer has where the directory gives none; an empty object where there is neither file.
nlohmann::json read_tokenizer_config(const std::string& directory);

/// Whether the configuration names CLIPTokenizer or CLIPTokenizerFast.
bool is_clip(const nlohmann::json& config);

/// tokenizer.json, or what it would be for a CLIPTokenizer's vocab.json and merges.txt; where `config` names no class
/// it then gets that one. `where` becomes what the content is called in errors. Throws UserError where the directory
/// has neither.
nlohmann::json read_tokenizer_file(const std::string& directory, nlohmann::json& config, std::string& where);

}  // namespace rft::text
