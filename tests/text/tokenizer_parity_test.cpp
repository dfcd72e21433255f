/// Ids and texts against the `tokenizers` library; fixtures by tests/parity/make_tokenizers.py and make_t5.py.
#include <nlohmann/json.hpp>

#include "rft/text/tokenizer.h"
#include "support.h"
#include "text/regex.h"
#include "text/utf8.h"

namespace rft::tokenizer_parity_test {
namespace {

using nlohmann::json;
using testing::fixture;
using testing::read_file;

const std::string kData = "parity/data/tokenizers/";

class TokenizerParity : public ::testing::TestWithParam<std::string> {
 protected:
  void SetUp() override {
    tokenizer = Tokenizer::parse(read_file(fixture(kData + GetParam() + ".json")), GetParam());
    texts = json::parse(read_file(fixture(kData + "texts.json"))).get<std::vector<std::string>>();
    if (GetParam().starts_with("unigram"))
      for (const auto& text : json::parse(read_file(fixture(kData + "unigram_texts.json")))) texts.push_back(text);
    std::istringstream lines(read_file(fixture(kData + GetParam() + ".cases.jsonl")));
    for (std::string line; std::getline(lines, line);) cases.push_back(json::parse(line));
    ASSERT_GT(cases.size(), 260u);
  }

  Tokenizer tokenizer;
  std::vector<std::string> texts;
  std::vector<json> cases;
};

TEST_P(TokenizerParity, IdsAreThoseOfTheLibrary) {
  for (const auto& row : cases) {
    const std::string& text = texts[row["text"].get<size_t>()];
    ASSERT_EQ(tokenizer.encode(text), row["ids"].get<std::vector<int64_t>>()) << row["text"] << ": " << text;
    if (row.contains("plain")) {
      ASSERT_EQ(tokenizer.encode(text, false), row["plain"].get<std::vector<int64_t>>()) << row["text"] << ": " << text;
    }
  }
}

TEST_P(TokenizerParity, DecodedTextIsThatOfTheLibrary) {
  for (const auto& row : cases) {
    const std::string& text = texts[row["text"].get<size_t>()];
    std::string expected = row.contains("decoded") ? row["decoded"].get<std::string>() : text;
    ASSERT_EQ(tokenizer.decode(row["ids"].get<std::vector<int64_t>>()), expected) << row["text"];
  }
}

INSTANTIATE_TEST_SUITE_P(Families, TokenizerParity,
                         ::testing::Values("gpt2", "prefixed", "qwen2", "llama3", "o200k", "falcon", "mixed", "words",
                                           "llama2", "bert", "bert_cased", "unigram", "unigram_bytes"),
                         [](const auto& info) { return info.param; });

TEST(RegexParity, PatternsMatchTheLibrarysCodePointsAllOverUnicode) {
  std::string all;
  std::vector<char32_t> code_at;
  for (char32_t c = 0; c < 0x110000; ++c) {
    if (c >= 0xD800 && c < 0xE000) continue;
    text::append_code(all, c);
    code_at.resize(all.size(), c);
  }
  json categories = json::parse(read_file(fixture(kData + "categories.json")));
  for (const auto& [pattern, expected] : categories.items()) {
    int64_t count = 0, checksum = 0;
    text::Regex(pattern, "test").each_match(all, [&](size_t begin, size_t end) {
      for (size_t i = begin; i < end; i += text::size_of_lead(static_cast<unsigned char>(all[i])), ++count)
        checksum = static_cast<int64_t>((static_cast<__int128>(checksum) * 1000003 + code_at[i]) % (int64_t{1} << 61));
    });
    EXPECT_EQ(count, expected[0].get<int64_t>()) << pattern;
    EXPECT_EQ(checksum, expected[1].get<int64_t>()) << pattern;
  }
}

}  // namespace
}  // namespace rft::tokenizer_parity_test
