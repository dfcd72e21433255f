/// CLIP tokenizers against transformers; fixtures by tests/parity/make_clip_tokenizer.py. RFT_CLIP_CASES names another
/// directory that the script wrote, with more texts.
#include <cstdlib>
#include <nlohmann/json.hpp>

#include "rft/text/tokenizer.h"
#include "support.h"

namespace rft::clip_tokenizer_test {
namespace {

using nlohmann::json;
using testing::message_of;
using testing::read_file;
using testing::TempDir;
using testing::write_file;

std::string data() {
  const char* other = std::getenv("RFT_CLIP_CASES");
  return other ? other : testing::fixture("parity/data/clip_tokenizer");
}

class ClipTokenizer : public ::testing::TestWithParam<std::string> {
 protected:
  void SetUp() override {
    tokenizer = Tokenizer::load(data() + "/" + GetParam());
    std::istringstream lines(read_file(data() + "/cases.jsonl"));
    for (std::string line; std::getline(lines, line);) {
      json row = json::parse(line);
      texts.push_back(row["text"]);
      cases.push_back(row.contains(GetParam()) ? row[GetParam()] : row["first"]);
    }
    ASSERT_GE(cases.size(), 100u);
  }

  Tokenizer tokenizer;
  std::vector<std::string> texts;
  std::vector<json> cases;
};

TEST_P(ClipTokenizer, GivesTransformersIds) {
  for (size_t i = 0; i < cases.size(); ++i) {
    auto expected = cases[i]["ids"].get<std::vector<int64_t>>();
    ASSERT_EQ(tokenizer.encode(texts[i]), expected) << texts[i];
    std::vector<int64_t> inner(expected.begin() + 1, expected.end() - 1);
    ASSERT_EQ(tokenizer.encode(texts[i], false), inner) << texts[i];
  }
}

TEST_P(ClipTokenizer, DecodesToTransformersText) {
  for (const json& row : cases) {
    auto ids = row["ids"].get<std::vector<int64_t>>();
    ASSERT_EQ(tokenizer.decode(ids), row["decoded"].get<std::string>());
    ASSERT_EQ(tokenizer.decode(ids, true), row["plain"].get<std::string>());
  }
}

TEST_P(ClipTokenizer, KnowsTransformersSpecialIdsAndLongestText) {
  json expected = json::parse(read_file(data() + "/names.json")).at(GetParam());
  EXPECT_EQ(tokenizer.bos_id(), expected["bos"]);
  EXPECT_EQ(tokenizer.eos_id(), expected["eos"]);
  EXPECT_EQ(tokenizer.pad_id(), expected["pad"]);
  EXPECT_EQ(tokenizer.size(), expected["size"]);
  EXPECT_EQ(tokenizer.max_length(), expected["max_length"]);
  EXPECT_TRUE(tokenizer.is_special(tokenizer.pad_id()));
}

INSTANTIATE_TEST_SUITE_P(Layouts, ClipTokenizer, ::testing::Values("first", "second", "listed", "fast"),
                         [](const auto& info) { return info.param; });

/// A directory of the fixture's vocabulary with other files beside it.
void write_vocabulary(const TempDir& dir) {
  for (const char* name : {"vocab.json", "merges.txt"})
    write_file(dir / name, read_file(testing::fixture("parity/data/clip_tokenizer/first/") + name));
}

TEST(ClipFiles, AreEnoughWithoutAConfiguration) {
  TempDir dir;
  write_vocabulary(dir);
  auto tokenizer = Tokenizer::load(dir.path());
  auto named = Tokenizer::load(testing::fixture("parity/data/clip_tokenizer/first"));
  EXPECT_EQ(tokenizer.encode("A cat's portrait"), named.encode("A cat's portrait"));
  EXPECT_EQ(tokenizer.pad_id(), named.eos_id());
  EXPECT_EQ(tokenizer.max_length(), -1);
  EXPECT_EQ(tokenizer.decode(tokenizer.encode("A  CAT!"), true), "a cat !");
}

TEST(ClipFiles, TakeMoreTokensFromAListOrByName) {
  for (const char* more : {R"(["<one>", "<two>"])", R"({"first_token": "<one>", "second_token": "<two>"})"}) {
    TempDir dir;
    write_vocabulary(dir);
    write_file(dir / "tokenizer_config.json",
               std::string(R"({"tokenizer_class": "CLIPTokenizer", "extra_special_tokens": )") + more + "}");
    auto tokenizer = Tokenizer::load(dir.path());
    EXPECT_EQ(tokenizer.id("<one>"), 1042);
    EXPECT_EQ(tokenizer.encode("<two><one>", false), (std::vector<int64_t>{1043, 1042}));
  }
}

TEST(ClipFiles, GiveAStreamOfWordsTheirSpaces) {
  StreamDecoder stream(Tokenizer::load(testing::fixture("parity/data/clip_tokenizer/first")));
  std::string out;
  for (int64_t id : Tokenizer::load(testing::fixture("parity/data/clip_tokenizer/first")).encode("two words 🙂"))
    out += stream.push(id);
  EXPECT_EQ(out, "two words 🙂 ");
}

TEST(ClipFiles, AreRefusedWithTheReasonWhereTheyDoNotFit) {
  TempDir dir;
  write_vocabulary(dir);
  write_file(dir / "tokenizer_config.json", R"({"tokenizer_class": "GPT2Tokenizer"})");
  EXPECT_NE(message_of([&] { Tokenizer::load(dir.path()); }).find("for CLIPTokenizer only"), std::string::npos);
  write_file(dir / "tokenizer_config.json", R"({"tokenizer_class": "CLIPTokenizer", "bos_token": "<s>"})");
  EXPECT_NE(message_of([&] { Tokenizer::load(dir.path()); }).find("lacks the `bos_token` '<s>'"), std::string::npos);
  write_file(dir / "tokenizer_config.json", R"({"tokenizer_class": "CLIPTokenizer", "model_max_length": -3})");
  EXPECT_NE(message_of([&] { Tokenizer::load(dir.path()); }).find("model_max_length"), std::string::npos);
  write_file(dir / "tokenizer_config.json", R"({"tokenizer_class": "CLIPTokenizer", "pad_token": 5})");
  EXPECT_NE(message_of([&] { Tokenizer::load(dir.path()); }).find("a special token must be"), std::string::npos);
  write_file(dir / "tokenizer_config.json",
             R"({"tokenizer_class": "CLIPTokenizer", "added_tokens_decoder": {"x": {"content": "y"}}})");
  EXPECT_NE(message_of([&] { Tokenizer::load(dir.path()); }).find("ids for keys; got 'x'"), std::string::npos);
  write_file(dir / "tokenizer_config.json", "{}");
  write_file(dir / "merges.txt", "#version: 0.2\nzz qq\n");
  EXPECT_NE(message_of([&] { Tokenizer::load(dir.path()); }).find("needs 'zz'"), std::string::npos);
  write_file(dir / "vocab.json", R"({"a": 0})");
  EXPECT_NE(message_of([&] { Tokenizer::load(dir.path()); }).find("there is none"), std::string::npos);
}

}  // namespace
}  // namespace rft::clip_tokenizer_test
