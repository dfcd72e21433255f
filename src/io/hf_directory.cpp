#include "rft/io/hf_directory.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <cstdio>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <set>

#include "rft/core/error.h"
#include "rft/core/json_depth.h"
#include "rft/io/files.h"
#include "rft/io/safetensors.h"

namespace rft {
namespace fs = std::filesystem;
namespace {

constexpr size_t kMaxJson = size_t{100} << 20;
constexpr int kMaxDepth = 64;

nlohmann::json parse_object(const std::string& file) {
  std::string text = read_text(file, kMaxJson);
  if (too_deep_at(text, kMaxDepth)) bad_input(file, "JSON may nest at most ", kMaxDepth, " deep; this nests deeper");
  auto json = nlohmann::json::parse(text, nullptr, false);
  if (!json.is_object()) bad_input(file, "this is not a JSON object");
  return json;
}

std::map<std::string, Tensor> load_shards(const std::string& directory, const std::string& index) {
  std::string file = directory + "/" + index;
  auto json = parse_object(file);
  if (!json.contains("weight_map") || !json["weight_map"].is_object()) bad_input(file, "a weight_map is needed");
  std::map<std::string, std::set<std::string>> names_of;
  for (const auto& [name, shard] : json["weight_map"].items()) {
    if (!shard.is_string()) bad_input(file, "weight_map must name a file for '", name, "'");
    names_of[shard.get<std::string>()].insert(name);
  }
  std::map<std::string, Tensor> out;
  for (const auto& [shard, names] : names_of) {
    auto tensors = load_safetensors(path_inside(directory, shard, file)).tensors;
    for (const auto& name : names) {
      auto found = tensors.find(name);
      if (found == tensors.end()) bad_input(file, "says that '", name, "' is in ", shard, ", where it is not");
      out[name] = found->second;
    }
  }
  return out;
}

void refuse_pickles(const std::string& directory) {
  std::error_code missing;
  for (const auto& entry : fs::directory_iterator(directory, missing)) {
    auto ext = entry.path().extension();
    if (ext == ".bin" || ext == ".pt" || ext == ".pth" || ext == ".ckpt")
      bad_input(directory, "the weights are a pickle (", entry.path().filename().string(),
                "), which can run code when it is read; convert it in Python with transformers' "
                "AutoModel.from_pretrained(DIR).save_pretrained(NEW_DIR)");
  }
}

/// A directory written before may hold the other form, and readers would find that one.
void remove_stale(const std::string& file) {
  std::error_code error;
  fs::remove(file, error);
  if (error) run_failed(file, "the file of an earlier save can't be removed: ", error.message());
}

std::string shard_name(const std::string& stem, size_t i, size_t count) {
  char name[64];
  std::snprintf(name, sizeof name, "-%05zu-of-%05zu.safetensors", i + 1, count);
  return stem + name;
}

}  // namespace

std::map<std::string, Tensor> load_hf_tensors(const std::string& directory, const std::string& stem) {
  if (!directory_exists(directory)) bad_input(directory, "there is no such directory");
  for (const char* variant : {"", ".fp16", ".bf16"}) {  // diffusers puts the precision into the name
    std::string single = stem + variant + ".safetensors", index = stem + ".safetensors.index" + variant + ".json";
    if (file_exists(directory + "/" + single)) return load_safetensors(directory + "/" + single).tensors;
    if (file_exists(directory + "/" + index)) return load_shards(directory, index);
  }
  refuse_pickles(directory);
  bad_input(directory, "there is neither ", stem, ".safetensors nor ", stem, ".safetensors.index.json");
}

void save_hf_tensors(const std::string& directory, const std::map<std::string, Tensor>& tensors, int64_t shard_bytes,
                     const std::string& stem) {
  const std::string single = stem + ".safetensors", index_file = stem + ".safetensors.index.json";
  std::vector<std::map<std::string, Tensor>> shards(1);
  int64_t total = 0, filled = 0;
  for (const auto& [name, value] : tensors) {
    int64_t bytes = static_cast<int64_t>(value.nbytes());
    if (filled > 0 && filled + bytes > shard_bytes) shards.emplace_back(), filled = 0;
    shards.back()[name] = value;
    filled += bytes, total += bytes;
  }
  if (shards.size() == 1) {
    save_safetensors(directory + "/" + single, tensors);
    return remove_stale(directory + "/" + index_file);
  }
  nlohmann::json map = nlohmann::json::object();
  for (size_t i = 0; i < shards.size(); ++i) {
    std::string name = shard_name(stem, i, shards.size());
    save_safetensors(directory + "/" + name, shards[i]);
    for (const auto& [tensor, value] : shards[i]) map[tensor] = name;
  }
  nlohmann::json index{{"metadata", {{"total_size", total}}}, {"weight_map", map}};
  write_text(directory + "/" + index_file, index.dump(2) + "\n");
  remove_stale(directory + "/" + single);
}

std::vector<int64_t> eos_token_ids(const std::string& directory) {
  for (const char* name : {"generation_config.json", "config.json"}) {
    std::string file = directory + "/" + name;
    if (!file_exists(file)) continue;
    auto json = parse_object(file);
    auto found = json.find("eos_token_id");
    if (found == json.end() || found->is_null()) continue;
    if (found->is_number_integer()) return {found->get<int64_t>()};
    bool integers = found->is_array() &&
                    std::all_of(found->begin(), found->end(), [](const auto& id) { return id.is_number_integer(); });
    if (!integers) bad_input(file, "eos_token_id must be a number or a list of numbers; got ", found->dump());
    return found->get<std::vector<int64_t>>();
  }
  return {};
}

std::optional<int64_t> forced_first_id(const std::string& directory) {
  const std::string own = directory + "/generation_config.json",
                    file = file_exists(own) ? own : directory + "/config.json";
  if (!file_exists(file)) return std::nullopt;
  const auto json = parse_object(file);
  const auto found = json.find("forced_bos_token_id");
  if (found == json.end() || found->is_null()) return std::nullopt;
  if (!found->is_number_integer()) bad_input(file, "forced_bos_token_id must be a number; got ", found->dump());
  return found->get<int64_t>();
}

void copy_text_files(const std::string& from, const std::string& to) {
  for (const char* name : {"tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json",
                           "vocab.json", "vocab.txt", "merges.txt", "tokenizer.model", "generation_config.json",
                           "chat_template.jinja", "chat_template.json"}) {
    std::string file = from + "/" + name;
    if (file_exists(file)) write_text(to + "/" + name, read_text(file));
  }
}

}  // namespace rft
