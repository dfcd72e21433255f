#include "text/word_piece.h"

#include <algorithm>

#include "text/utf8.h"

namespace rft::text {
namespace {

int64_t characters(std::string_view text) {
  return std::count_if(text.begin(), text.end(), [](char c) { return (static_cast<unsigned char>(c) & 0xC0) != 0x80; });
}

}  // namespace

WordPiece::WordPiece(const Spec& spec)
    : prefix_(spec.text("continuing_subword_prefix", "##")),
      longest_(spec.has("max_input_chars_per_word") ? spec.integer("max_input_chars_per_word") : 100) {
  Spec vocab = spec.at("vocab");
  if (!vocab.value().is_object()) vocab.refuse("must be an object, {token: id}; got ", vocab.value().type_name());
  for (const auto& [token, id] : vocab.value().items()) {
    vocabulary_[token] = static_cast<int32_t>(vocab.at(token.c_str()).as_integer());
    longest_token_ = std::max(longest_token_, token.size());
  }
  std::string unknown = spec.text("unk_token", "[UNK]");
  unknown_ = id(unknown);
  if (unknown_ < 0) spec.at("unk_token").refuse("must be a token of the vocabulary; got '", unknown, "'");
}

void WordPiece::encode(std::string_view piece, std::vector<int64_t>& out) const {
  const size_t before = out.size();
  if (characters(piece) > longest_) return out.push_back(unknown_);
  std::string candidate;
  for (size_t start = 0; start < piece.size();) {
    const std::string_view prefix = start ? std::string_view(prefix_) : std::string_view();
    size_t end = std::min(piece.size(), start + longest_token_ - std::min(prefix.size(), longest_token_));
    while (end < piece.size() && (static_cast<unsigned char>(piece[end]) & 0xC0) == 0x80) --end;
    int64_t found = -1;
    for (; end > start; --end) {
      if (end < piece.size() && (static_cast<unsigned char>(piece[end]) & 0xC0) == 0x80) continue;
      candidate.assign(prefix).append(piece.substr(start, end - start));
      if ((found = id(candidate)) >= 0) break;
    }
    if (found < 0) {
      out.resize(before);
      return out.push_back(unknown_);
    }
    out.push_back(found);
    start = end;
  }
}

}  // namespace rft::text
