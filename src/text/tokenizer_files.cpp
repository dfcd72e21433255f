#include "text/tokenizer_files.h"

#include <algorithm>

#include "rft/core/error.h"
#include "rft/io/files.h"
#include "text/clip_files.h"

namespace rft::text {
namespace {

using nlohmann::json;

constexpr size_t kMaxFile = size_t{256} << 20;

json read_object(const std::string& file) { return parse_object(read_text(file, kMaxFile), file); }

/// An empty object where there is no such file.
json read_if_there(const std::string& file) { return file_exists(file) ? read_object(file) : json::object(); }

bool has_word_ends(const json& vocab) {
  for (const auto& entry : vocab.items())
    if (entry.key().size() > 4 && entry.key().ends_with(kClipWordEnd)) return true;
  return false;
}

}  // namespace

json parse_object(const std::string& content, const std::string& file) {
  try {
    json value = json::parse(content);
    if (!value.is_object()) bad_input(file, "the file must be a JSON object; got ", value.type_name());
    return value;
  } catch (const json::exception& error) {
    std::string what = error.what();
    bad_input(file, "the file must be valid JSON; ", what.substr(std::min(what.size(), what.find("] ") + 2)));
  }
}

bool is_clip(const json& config) {
  auto name = config.find("tokenizer_class");
  return name != config.end() && (*name == "CLIPTokenizer" || *name == "CLIPTokenizerFast");
}

json read_tokenizer_config(const std::string& directory) {
  json config = read_if_there(directory + "/tokenizer_config.json");
  if (!config.contains("added_tokens_decoder")) config.update(read_if_there(directory + "/special_tokens_map.json"));
  if (is_clip(config)) add_clip_defaults(config);
  return config;
}

json read_tokenizer_file(const std::string& directory, json& config, std::string& where) {
  std::string file = directory + "/tokenizer.json";
  where = file;
  if (file_exists(file)) return read_object(file);
  if (!directory_exists(directory)) bad_input(directory, "there is no model directory");
  std::string vocab_file = directory + "/vocab.json", merges_file = directory + "/merges.txt";
  bool both = file_exists(vocab_file) && file_exists(merges_file);
  json vocab = both ? read_object(vocab_file) : json::object();
  bool named = config.contains("tokenizer_class");
  if (!both || !(named ? is_clip(config) : has_word_ends(vocab)))
    bad_input(file,
              "a model directory needs a tokenizer.json; there is none (save it with a fast tokenizer; "
              "vocab.json and merges.txt are read for CLIPTokenizer only)");
  config["tokenizer_class"] = "CLIPTokenizer";
  add_clip_defaults(config);
  where = directory;
  return clip_tokenizer_file(vocab, read_text(merges_file, kMaxFile), config,
                             read_if_there(directory + "/added_tokens.json"), where);
}

}  // namespace rft::text
