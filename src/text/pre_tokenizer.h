#pragma once
/// tokenizer.json's `pre_tokenizer`: cuts a text into the pieces that the model sees one by one.
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "text/spec.h"

namespace rft::text {

struct Span {
  size_t begin, end;
};

/// Pieces of one text, in order and not overlapping. What lies between them is dropped.
struct Pieces {
  std::string text;
  std::vector<Span> spans;
  bool first = true;  ///< they begin where the whole text does

  std::string_view operator[](size_t i) const {
    return std::string_view(text).substr(spans[i].begin, spans[i].end - spans[i].begin);
  }
};

/// Thread-safe.
using PreTokenizer = std::function<void(Pieces&)>;

/// One piece for null. Throws UserError on a kind that is not supported.
PreTokenizer make_pre_tokenizer(const Spec& spec);

/// The pieces of GPT-2's ByteLevel pre-tokeniser.
PreTokenizer byte_level(bool add_prefix_space, bool use_regex);

}  // namespace rft::text
