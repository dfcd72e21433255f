#include <map>
#include <nlohmann/json.hpp>
#include <set>

#include "rft/core/error.h"
#include "rft/io/files.h"
#include "rft/text/tokenizer.h"
#include "text/byte_level.h"
#include "text/pre_tokenizer.h"
#include "text/trainer.h"
#include "text/utf8.h"

namespace rft {
namespace {

using text::Pair;

std::map<std::string, int64_t> count_words(const std::vector<std::string>& corpus) {
  text::PreTokenizer cut = text::byte_level(false, true);
  std::map<std::string, int64_t> words;
  for (const auto& line : corpus) {
    text::Pieces pieces{text::replace_invalid(line), {}};
    if (pieces.text.empty()) continue;
    pieces.spans = {{0, pieces.text.size()}};
    cut(pieces);
    for (size_t i = 0; i < pieces.spans.size(); ++i) ++words[std::string(pieces[i])];
  }
  return words;
}

std::vector<std::string> characters_of(const std::string& word) {
  std::vector<std::string> out;
  for (size_t i = 0; i < word.size(); i += out.back().size())
    out.push_back(word.substr(i, text::size_of_lead(static_cast<unsigned char>(word[i]))));
  return out;
}

nlohmann::ordered_json byte_level_part() {
  return {{"type", "ByteLevel"}, {"add_prefix_space", false}, {"trim_offsets", true}, {"use_regex", true}};
}

nlohmann::ordered_json special_token(int64_t id, const std::string& content) {
  return {{"id", id},        {"content", content},  {"single_word", false}, {"lstrip", false},
          {"rstrip", false}, {"normalized", false}, {"special", true}};
}

nlohmann::ordered_json tokenizer_file(const std::vector<std::string>& vocabulary, const std::vector<Pair>& merges) {
  using Json = nlohmann::ordered_json;
  Json vocab = Json::object(), pairs = Json::array(), added = Json::array();
  for (size_t i = 0; i < vocabulary.size(); ++i) vocab[vocabulary[i]] = i;
  for (const auto& [left, right] : merges) pairs.push_back({vocabulary[left], vocabulary[right]});
  auto count = static_cast<int64_t>(vocabulary.size());
  added.push_back(special_token(count, "<|pad|>"));
  added.push_back(special_token(count + 1, "<|eos|>"));
  return {{"version", "1.0"},
          {"truncation", nullptr},
          {"padding", nullptr},
          {"added_tokens", added},
          {"normalizer", nullptr},
          {"pre_tokenizer", byte_level_part()},
          {"post_processor", byte_level_part()},
          {"decoder", byte_level_part()},
          {"model",
           {{"type", "BPE"},
            {"dropout", nullptr},
            {"unk_token", nullptr},
            {"continuing_subword_prefix", nullptr},
            {"end_of_word_suffix", nullptr},
            {"fuse_unk", false},
            {"byte_fallback", false},
            {"ignore_merges", false},
            {"vocab", vocab},
            {"merges", pairs}}}};
}

}  // namespace

void make_tokenizer(const std::string& directory, const std::vector<std::string>& corpus, int64_t vocab_size,
                    bool all_bytes) {
  constexpr int64_t kSpecial = 2;
  auto counted = count_words(corpus);
  std::set<std::string> alphabet;
  if (all_bytes)
    for (int b = 0; b < 256; ++b) alphabet.insert(text::character_of(static_cast<unsigned char>(b)));
  for (const auto& entry : counted)
    for (const auto& c : characters_of(entry.first)) alphabet.insert(c);
  std::vector<std::string> vocabulary(alphabet.begin(), alphabet.end());
  auto size = static_cast<int64_t>(vocabulary.size());
  if (size == 0) bad_input("make_tokenizer", "the corpus must hold some text");
  if (vocab_size < size + kSpecial)
    bad_input("make_tokenizer", "vocab_size must be at least ", size + kSpecial, " (", size,
              " bytes and two special tokens); got ", vocab_size);
  std::map<std::string, int32_t> ids;
  for (const auto& c : vocabulary) ids.emplace(c, static_cast<int32_t>(ids.size()));
  std::vector<text::Word> words;
  for (const auto& [word, count] : counted) {
    words.push_back(text::Word{{}, count});
    for (const auto& c : characters_of(word)) words.back().symbols.push_back(ids.at(c));
  }
  auto merges = text::learn_merges(std::move(words), vocabulary, static_cast<size_t>(vocab_size - kSpecial));
  make_directories(directory);
  write_text(directory + "/tokenizer.json", tokenizer_file(vocabulary, merges).dump(1) + "\n");
  nlohmann::ordered_json config{{"tokenizer_class", "PreTrainedTokenizerFast"},
                                {"eos_token", "<|eos|>"},
                                {"pad_token", "<|pad|>"},
                                {"clean_up_tokenization_spaces", false}};
  write_text(directory + "/tokenizer_config.json", config.dump(1) + "\n");
}

}  // namespace rft
