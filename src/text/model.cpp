#include "text/model.h"

#include <cstdio>

#include "text/bpe.h"
#include "text/unigram.h"
#include "text/word_piece.h"

namespace rft::text {

std::unique_ptr<Model> make_model(const Spec& spec) {
  std::string type = spec.text("type", "BPE");
  if (type == "BPE") return std::make_unique<Bpe>(spec);
  if (type == "Unigram") return std::make_unique<Unigram>(spec);
  if (type == "WordPiece") return std::make_unique<WordPiece>(spec);
  spec.unknown_type({"BPE", "Unigram", "WordPiece"});
}

std::vector<int32_t> byte_tokens(const Vocabulary& vocabulary) {
  std::vector<int32_t> out;
  for (int b = 0; b < 256; ++b) {
    char name[8];
    std::snprintf(name, sizeof name, "<0x%02X>", b);
    auto found = vocabulary.find(std::string_view(name));
    out.push_back(found == vocabulary.end() ? -1 : found->second);
  }
  return out;
}

}  // namespace rft::text
