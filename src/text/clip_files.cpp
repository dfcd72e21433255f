#include "text/clip_files.h"

#include <algorithm>
#include <map>
#include <sstream>
#include <vector>

#include "rft/core/error.h"
#include "text/utf8.h"

namespace rft::text {
namespace {

using nlohmann::json;

const char* const kSplit =
    "<\\|startoftext\\|>|<\\|endoftext\\|>|'s|'t|'re|'ve|'m|'ll|'d|[\\p{L}]+|[\\p{N}]|[^\\s\\p{L}\\p{N}]+";
/// In the order in which transformers adds them: where two have one text, the last one's flags hold.
const std::vector<const char*> kNames{"bos_token",           "eos_token", "unk_token",  "sep_token",
                                      "pad_token",           "cls_token", "mask_token", "additional_special_tokens",
                                      "extra_special_tokens"};

json added_token(const std::string& content, bool special) {
  return {{"content", content}, {"single_word", false},   {"lstrip", false},
          {"rstrip", false},    {"normalized", !special}, {"special", special}};
}

bool is_special(const json& token) { return token.is_object() && token.value("special", json(false)) == true; }

/// A token as configurations name it: its text, or an object with flags.
json read_token(const json& value, const std::string& where) {
  if (value.is_string()) return added_token(value.get<std::string>(), true);
  if (!value.is_object() || !value.contains("content") || !value["content"].is_string())
    bad_input(where, "a special token must be a string or an object with `content`; got ", value.dump());
  json token = added_token(value["content"].get<std::string>(), is_special(value));
  for (const char* flag : {"single_word", "lstrip", "rstrip", "normalized"})
    if (value.contains(flag)) token[flag] = value[flag];
  token["special"] = true;
  return token;
}

/// Tokens in the order in which they are added; adding one again gives it new flags.
class TokenList {
 public:
  void add(json token) {
    std::string content = token["content"];
    auto [place, made] = places_.try_emplace(content, tokens_.size());
    if (made)
      tokens_.push_back(std::move(token));
    else
      tokens_[place->second] = std::move(token);
  }
  bool has(const std::string& content) const { return places_.count(content) > 0; }
  json list() const {
    json out = json::array();
    for (json token : tokens_) token["id"] = 0u, out.push_back(token);  // ids follow the order: AddedTokens
    return out;
  }

 private:
  std::vector<json> tokens_;
  std::map<std::string, size_t> places_;
};

std::vector<json> named_tokens(const json& config, const std::string& where) {
  std::vector<json> out;
  for (const char* name : kNames) {
    if (!config.contains(name) || config[name].is_null()) continue;
    const json& value = config[name];
    bool several =
        value.is_array() || (value.is_object() && !value.contains("content"));  // a list, or names for tokens
    if (!several)
      out.push_back(read_token(value, where));
    else
      for (const json& item : value) out.push_back(read_token(item, where));
  }
  return out;
}

/// Those that the configuration lists with their ids, by id.
std::map<int64_t, json> listed_tokens(const json& config, const json& added, const std::string& where) {
  std::map<int64_t, json> out;
  if (config.contains("added_tokens_decoder") && config["added_tokens_decoder"].is_object()) {
    for (const auto& [id, value] : config["added_tokens_decoder"].items()) {
      json token = read_token(value, where);
      token["special"] = is_special(value);
      if (id.empty() || id.size() > 9 || id.find_first_not_of("0123456789") != std::string::npos)
        bad_input(where, "`added_tokens_decoder` must have ids for keys; got '", id, "'");
      out[std::stoll(id)] = token;
    }
    return out;
  }
  for (const auto& [content, id] : added.items()) {
    if (!id.is_number_unsigned()) bad_input(where, "added_tokens.json must give '", content, "' an id");
    out[id.get<int64_t>()] = added_token(content, false);
  }
  return out;
}

json added_tokens(const json& config, const json& added, const std::string& where) {
  std::vector<json> named = named_tokens(config, where);
  std::map<std::string, bool> special;
  for (const json& token : named) special[token["content"]] = true;
  bool legacy = !config.contains("added_tokens_decoder");
  TokenList listed;
  for (auto& [id, token] : listed_tokens(config, added, where)) {
    bool is_named = special.count(token["content"]) > 0;
    if (is_named) token["special"] = true;
    if (is_named && legacy) token["normalized"] = false;
    listed.add(token);
  }
  TokenList out = listed;
  for (json& token : named)
    if (!listed.has(token["content"])) out.add(std::move(token));
  return out.list();
}

json merge_lines(const std::string& text) {
  json out = json::array();
  std::istringstream lines(text);
  for (std::string line; std::getline(lines, line);) {
    if (line.ends_with('\r')) line.pop_back();
    out.push_back(line);
  }
  return out;
}

/// ["<|endoftext|>", 49407]
json token_and_id(const json& config, const json& vocab, const char* name, const std::string& where) {
  if (!config.contains(name) || config[name].is_null()) bad_input(where, "a CLIP tokenizer must have a `", name, "`");
  std::string content = read_token(config[name], where)["content"];
  if (!vocab.contains(content)) bad_input(where, "vocab.json lacks the `", name, "` '", content, "'");
  return {content, vocab[content]};
}

}  // namespace

std::string spaced_words(std::string text) {
  const std::string_view end = kClipWordEnd;
  for (size_t at = text.find(end); at != std::string::npos; at = text.find(end, at + 1))
    text.replace(at, end.size(), " ");
  return text;
}

std::string stripped(const std::string& text) {
  size_t begin = text.size(), end = 0;
  for (size_t i = 0; i < text.size();) {
    Decoded next = decode_at(text, i);
    bool space = is_space(next.code) || (next.code >= 0x1C && next.code <= 0x1F);
    if (!space) begin = std::min(begin, i), end = i + next.size;
    i += next.size;
  }
  return begin < end ? text.substr(begin, end - begin) : "";
}

void add_clip_defaults(json& config) {
  if (!config.contains("bos_token")) config["bos_token"] = "<|startoftext|>";
  for (const char* name : {"eos_token", "unk_token", "pad_token"})
    if (!config.contains(name)) config[name] = "<|endoftext|>";
}

json clip_tokenizer_file(const json& vocab, const std::string& merges, const json& config, const json& added,
                         const std::string& where) {
  json steps = {{{"type", "NFC"}},
                {{"type", "Replace"}, {"pattern", {{"Regex", "\\s+"}}}, {"content", " "}},
                {{"type", "Lowercase"}}};
  json words = {{"type", "Split"}, {"pattern", {{"Regex", kSplit}}}, {"behavior", "Removed"}, {"invert", true}};
  json bytes = {{"type", "ByteLevel"}, {"add_prefix_space", false}, {"trim_offsets", true}, {"use_regex", true}};
  json unknown = token_and_id(config, vocab, "unk_token", where);
  return {{"added_tokens", added_tokens(config, added, where)},
          {"normalizer", {{"type", "Sequence"}, {"normalizers", steps}}},
          {"pre_tokenizer", {{"type", "Sequence"}, {"pretokenizers", {words, bytes}}}},
          {"post_processor",
           {{"type", "RobertaProcessing"},
            {"sep", token_and_id(config, vocab, "eos_token", where)},
            {"cls", token_and_id(config, vocab, "bos_token", where)}}},
          {"decoder", bytes},
          {"model",
           {{"type", "BPE"},
            {"unk_token", unknown[0]},
            {"end_of_word_suffix", kClipWordEnd},
            {"vocab", vocab},
            {"merges", merge_lines(merges)}}}};
}

}  // namespace rft::text
