#pragma once
/// tokenizer.json as the `tokenizers` library reads it: byte-level BPE with added tokens, normaliser, pre-tokeniser and
/// post-processor.
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace rft {

/// Immutable after load; may be used from several threads.
class Tokenizer {
 public:
  /// Reads `directory`/tokenizer.json, and tokenizer_config.json and special_tokens_map.json for eos/pad/bos names. Of
  /// a CLIPTokenizer without tokenizer.json it reads vocab.json and merges.txt. Throws UserError naming the file and
  /// what in it is not supported.
  static Tokenizer load(const std::string& directory);
  /// From tokenizer.json's text.
  static Tokenizer parse(const std::string& json, const std::string& where);

  /// Ids of UTF-8 `text`; invalid bytes are replaced by U+FFFD. `special` adds what the post-processor adds.
  std::vector<int64_t> encode(std::string_view text, bool special = true) const;
  /// Text of ids; an id outside the vocabulary throws UserError. A CLIPTokenizer's words have one space between them,
  /// as in transformers.
  std::string decode(const std::vector<int64_t>& ids, bool skip_special = false) const;

  /// The id of an exact token, or -1.
  int64_t id(std::string_view token) const;
  /// The token of an id as it stands in the vocabulary.
  std::string token(int64_t id) const;
  bool is_special(int64_t id) const;
  /// The bytes of one token in the middle of a text; they may be a part of a character.
  std::string bytes(int64_t id) const;
  /// Number of ids, added tokens included (largest id + 1).
  int64_t size() const;
  /// From tokenizer_config.json and special_tokens_map.json; -1 where they say nothing.
  int64_t eos_id() const;
  int64_t pad_id() const;
  int64_t bos_id() const;
  /// The model's longest text in ids, special ones included (model_max_length, 77 for CLIP); -1 where tokenizer_config
  /// says nothing or gives a number of 2^31 or more, which stands for no limit.
  int64_t max_length() const;

  struct Impl;

 private:
  std::shared_ptr<const Impl> impl_;
};

/// Bytes of an unfinished UTF-8 character are held back until it is whole.
class StreamDecoder {
 public:
  explicit StreamDecoder(Tokenizer tokenizer) : tokenizer_(std::move(tokenizer)) {}
  /// The text that this id completes; "" while a character is unfinished. Special tokens give "".
  std::string push(int64_t id);
  /// The beginning of a character that the bytes so far end in, or "".
  const std::string& unfinished() const { return pending_; }

 private:
  Tokenizer tokenizer_;
  std::string pending_;
};

/// The tokens that end a text: what `directory`'s generation_config.json or config.json says, else the tokenizer's
/// own; empty where nothing does.
std::vector<int64_t> end_ids(const std::string& directory, const Tokenizer& tokenizer);

/// Writes tokenizer.json and tokenizer_config.json of a byte-level BPE into `directory`: all bytes (or only those that
/// `corpus` has), merges learned from `corpus`, then the special tokens "<|pad|>" and "<|eos|>"; `vocab_size` ids in
/// all, fewer where the corpus has no more pairs. transformers' AutoTokenizer loads it. Throws UserError where
/// `vocab_size` is too small for the bytes, RunError where the files can't be written.
void make_tokenizer(const std::string& directory, const std::vector<std::string>& corpus, int64_t vocab_size,
                    bool all_bytes = true);

}  // namespace rft
