#include "rft/text/tokenizer.h"

#include <nlohmann/json.hpp>
#include <thread>

#include "support.h"

namespace rft::tokenizer_test {
namespace {

using nlohmann::json;
using testing::fixture;
using testing::message_of;
using testing::read_file;
using testing::TempDir;
using testing::write_file;

json qwen2() { return json::parse(read_file(fixture("parity/data/tokenizers/qwen2.json"))); }

Tokenizer parse(const json& file) { return Tokenizer::parse(file.dump(), "t.json"); }

std::vector<std::string> base_corpus() {
  auto texts = json::parse(read_file(fixture("parity/data/tokenizers/texts.json"))).get<std::vector<std::string>>();
  return {texts.begin(), texts.begin() + 7};
}

/// qwen2's file with `value` at `pointer`.
json with(const std::string& pointer, const json& value) {
  json file = qwen2();
  file[json::json_pointer(pointer)] = value;
  return file;
}

TEST(Tokenizer, InvalidUtf8BecomesReplacementCharacters) {
  Tokenizer t = parse(qwen2());
  EXPECT_EQ(t.encode("a\xff"
                     "b"),
            t.encode("a\uFFFD"
                     "b"));
  EXPECT_EQ(t.encode("\xe2\x82"), t.encode("\uFFFD"));                  // cut: one for the whole beginning
  EXPECT_EQ(t.encode("\xed\xa0\x80"), t.encode("\uFFFD\uFFFD\uFFFD"));  // a surrogate: one for each byte
  EXPECT_EQ(t.encode("\xf0\x9f\x98x"), t.encode("\uFFFDx"));
  EXPECT_EQ(t.encode(std::string("\xc0\x80", 2)), t.encode("\uFFFD\uFFFD"));
}

TEST(Tokenizer, AnyBytesDecodeToTheRepairedText) {
  Tokenizer t = parse(with("/normalizer", nullptr));
  std::mt19937 random(1);
  for (int i = 0; i < 2000; ++i) {
    std::string bytes(random() % 40, '\0');
    for (auto& b : bytes) b = static_cast<char>(random() % 3 ? random() % 256 : 0xE0 + random() % 32);
    std::string text = t.decode(t.encode(bytes));
    EXPECT_EQ(t.decode(t.encode(text)), text);
    EXPECT_EQ(t.encode(text), t.encode(bytes));
  }
}

TEST(Tokenizer, TokensKnowTheirIdsAndWhatIsSpecial) {
  Tokenizer t = parse(qwen2());
  int64_t end = t.id("<|im_end|>");
  ASSERT_GE(end, 0);
  EXPECT_EQ(t.token(end), "<|im_end|>");
  EXPECT_TRUE(t.is_special(end));
  EXPECT_FALSE(t.is_special(t.id("ping")));
  EXPECT_EQ(t.id("no such token"), -1);
  EXPECT_EQ(t.decode({t.id("ping"), end}, true), "ping");
  EXPECT_EQ(t.size(), t.id("the") >= 500 ? t.id("the") + 1 : t.size());
  EXPECT_THROW(t.decode({t.size()}), UserError);
  EXPECT_THROW(t.token(-1), UserError);
}

TEST(Tokenizer, TheConfigNamesTheSpecialIds) {
  TempDir dir;
  write_file(dir / "tokenizer.json", qwen2().dump());
  EXPECT_EQ(Tokenizer::load(dir.path()).eos_id(), -1);
  write_file(dir / "tokenizer_config.json",
             R"({"eos_token": "<|im_end|>", "pad_token": {"content": "<|endoftext|>"}, "bos_token": null})");
  Tokenizer t = Tokenizer::load(dir.path());
  EXPECT_EQ(t.eos_id(), t.id("<|im_end|>"));
  EXPECT_EQ(t.pad_id(), t.id("<|endoftext|>"));
  EXPECT_EQ(t.bos_id(), -1);
  write_file(dir / "tokenizer_config.json", R"({"eos_token": 7})");
  EXPECT_NE(message_of([&] { Tokenizer::load(dir.path()); }).find("eos_token"), std::string::npos);
  EXPECT_NE(message_of([] { Tokenizer::load("/nowhere"); }).find("[/nowhere] there is no model directory"),
            std::string::npos);
}

TEST(Tokenizer, WhatIsNotSupportedIsNamedWithTheFileAndTheKind) {
  struct Case {
    std::string pointer;
    json value;
    std::string named;
  };
  for (const auto& c :
       std::vector<Case>{{"/model/type", "WordLevel", "WordLevel"},
                         {"/model/type", "Unigram", "model.unk_id"},
                         {"/model/type", "WordPiece", "[UNK]"},
                         {"/model/dropout", 0.1, "dropout"},
                         {"/normalizer", {{"type", "Nmt"}}, "Nmt"},
                         {"/normalizer/type", "NFG", "did you mean 'NFC'"},
                         {"/pre_tokenizer/pretokenizers/0", {{"type", "UnicodeScripts"}}, "UnicodeScripts"},
                         {"/pre_tokenizer/pretokenizers/0/pattern/Regex", "(", "does not compile"},
                         {"/pre_tokenizer/pretokenizers/0/pattern/Regex", "\\p{Foo}", "does not compile"},
                         {"/pre_tokenizer/pretokenizers/0/pattern/Regex", "[a&&b]", "intersection"},
                         {"/pre_tokenizer/pretokenizers/0/pattern/Regex", "[[:alpha:]]", "class within a class"},
                         {"/pre_tokenizer/pretokenizers/0/pattern/Regex", "a{1,2}+", "after a repeat count"},
                         {"/pre_tokenizer/pretokenizers/0/pattern/Regex", "\\h+", "\\h"},
                         {"/pre_tokenizer/pretokenizers/0/pattern/Regex", "(?m:.)", "inline option"},
                         {"/pre_tokenizer/pretokenizers/0/pattern/Regex", "(*VERB)", "does not compile"},
                         {"/pre_tokenizer/pretokenizers/0/behavior", "Isolate", "did you mean 'Isolated'"},
                         {"/post_processor", {{"type", "Foo"}}, "Foo"},
                         {"/decoder", {{"type", "CTC"}}, "CTC"}}) {
    std::string message = message_of([&] { parse(with(c.pointer, c.value)); });
    EXPECT_NE(message.find(c.named), std::string::npos) << message;
    EXPECT_EQ(message.find("[t.json"), 0u) << message;
  }
}

TEST(Tokenizer, MalformedFilesAreUserErrors) {
  for (std::string text :
       {"", "{", "[]", "null", "1", "{}", R"({"model": 1})", R"({"model": {}})", R"({"model": {"vocab": {}}})",
        R"({"model": {"vocab": [], "merges": []}})", R"({"model": {"vocab": {"a": -1}, "merges": []}})",
        R"({"model": {"vocab": {"a": 1.5}, "merges": []}})", R"({"model": {"vocab": {"a": 4294967296}, "merges": []}})",
        R"({"model": {"vocab": {"a": 0}, "merges": [["a", "b"]]}})",
        R"({"model": {"vocab": {"a": 0}, "merges": ["aa"]}})", R"({"model": {"vocab": {"a": 0}, "merges": [["a"]]}})",
        R"({"model": {"vocab": {"a": 0}, "merges": [1]}})", R"({"model": {"vocab": {"a": 0}, "merges": ["a a"]}})",
        "{\"model\": \"\xff\"}"}) {
    EXPECT_EQ(message_of([&] { Tokenizer::parse(text, "t.json"); }).find("[t.json]"), 0u) << text;
  }
  for (const auto& [pointer, value] : std::vector<std::pair<std::string, json>>{
           {"/added_tokens", 1},
           {"/added_tokens", {1}},
           {"/added_tokens/0/content", 1},
           {"/added_tokens/0/id", -5},
           {"/added_tokens/0/special", "no"},
           {"/post_processor", {{"type", "TemplateProcessing"}}},
           {"/post_processor",
            json::parse(
                R"({"type": "TemplateProcessing", "single": [{"SpecialToken": {"id": "x"}}], "special_tokens": {}})")},
           {"/normalizer", "NFC"},
           {"/pre_tokenizer", json::array()},
           {"/decoder/type", 3},
           {"/model/byte_fallback", "yes"}}) {
    EXPECT_EQ(message_of([&] { parse(with(pointer, value)); }).find("[t.json"), 0u) << pointer;
  }
}

TEST(Tokenizer, EveryTruncationOfAFileIsRefusedOrRead) {
  std::string text =
      R"({"added_tokens":[{"id":2,"content":"<s>","single_word":false,"lstrip":false,"rstrip":true,"normalized":false,)"
      R"("special":true}],"normalizer":{"type":"NFC"},"pre_tokenizer":{"type":"Split","pattern":{"Regex":"\\s+|\\p{L}+"},)"
      R"("behavior":"Isolated","invert":false},"model":{"type":"BPE","vocab":{"a":0,"aa":1},"merges":["a a"]}})";
  EXPECT_EQ(Tokenizer::parse(text, "t").encode("aaa<s>  a"), (std::vector<int64_t>{1, 0, 2, 0}));
  std::mt19937 random(2);
  for (size_t n = 0; n < text.size(); ++n) EXPECT_THROW(Tokenizer::parse(text.substr(0, n), "t"), UserError) << n;
  for (int i = 0; i < 5000; ++i) {
    std::string broken = text;
    for (int k = 0; k < 3; ++k)
      broken[random() % broken.size()] =
          static_cast<char>(random() % 3 ? text[random() % text.size()] : random() % 256);
    try {
      Tokenizer::parse(broken, "t").encode("aaa <s> a");
    } catch (const UserError&) {
    }
  }
}

TEST(Tokenizer, DeepNestingIsRefusedWithoutRecursion) {
  json deep = {{"type", "NFC"}};
  for (int i = 0; i < 40; ++i) deep = {{"type", "Sequence"}, {"normalizers", {deep}}};
  EXPECT_NE(message_of([&] { parse(with("/normalizer", deep)); }).find("deeper than 16"), std::string::npos);
  std::string brackets(200000, '[');
  EXPECT_THROW(Tokenizer::parse(brackets, "t"), UserError);
  EXPECT_THROW(Tokenizer::parse("{\"model\":" + brackets + std::string(200000, ']') + "}", "t"), UserError);
}

TEST(Tokenizer, ACatastrophicPatternEndsWithAnError) {
  Tokenizer t = parse(with("/pre_tokenizer/pretokenizers/0/pattern/Regex", "(a+)+$"));
  EXPECT_NE(message_of([&] { t.encode(std::string(60, 'a') + "b"); }).find("can't be matched"), std::string::npos);
}

TEST(Tokenizer, ALongPieceTakesTimeThatGrowsWithItsLength) {
  Tokenizer t =
      parse(with("/pre_tokenizer", {{"type", "ByteLevel"}, {"add_prefix_space", false}, {"use_regex", false}}));
  std::string text;
  for (int i = 0; i < 20000; ++i) text += "the lazy dog ";
  EXPECT_EQ(t.decode(t.encode(text)), text);
}

TEST(Tokenizer, ShortAndLongPiecesAreMergedAlike) {
  // As one piece the text goes through the heap, cut at its spaces through the table of a short word.
  json whole = with("/pre_tokenizer", {{"type", "ByteLevel"}, {"add_prefix_space", false}, {"use_regex", false}});
  Tokenizer t = parse(whole);
  std::mt19937 random(3);
  for (int i = 0; i < 300; ++i) {
    std::string word, separated;
    for (int k = 0; k < 40; ++k) word += "thelazy quickbrown"[random() % 18];
    std::vector<int64_t> once = t.encode(word), many;
    for (int k = 0; k < 3; ++k)
      separated += word + "\x01", many.insert(many.end(), once.begin(), once.end()),
          many.push_back(t.encode("\x01")[0]);
    EXPECT_EQ(t.encode(separated), many) << word;
  }
}

TEST(Tokenizer, ThreadsGetTheSameIds) {
  Tokenizer t = parse(qwen2());
  auto corpus = base_corpus();
  std::vector<std::vector<int64_t>> expected;
  for (const auto& line : corpus) expected.push_back(parse(qwen2()).encode(line));
  std::atomic<int> wrong{0};
  std::vector<std::thread> threads;
  for (int k = 0; k < 4; ++k)
    threads.emplace_back([&] {
      for (int i = 0; i < 50; ++i)
        for (size_t j = 0; j < corpus.size(); ++j) wrong += t.encode(corpus[j]) != expected[j];
    });
  for (auto& thread : threads) thread.join();
  EXPECT_EQ(wrong, 0);
}

TEST(StreamDecoder, PiecesJoinToTheTextAndCharactersComeWhole) {
  for (std::string name : {"qwen2", "llama2"}) {
    Tokenizer t = Tokenizer::parse(read_file(fixture("parity/data/tokenizers/" + name + ".json")), name);
    for (const auto& text : base_corpus()) {
      auto ids = t.encode(text, false);
      StreamDecoder stream(t);
      std::string joined;
      for (int64_t id : ids) {
        std::string part = stream.push(id);
        EXPECT_TRUE(part.empty() || (static_cast<unsigned char>(part[0]) & 0xC0) != 0x80);
        joined += part;
      }
      EXPECT_EQ(name == "llama2" ? joined.substr(1) : joined, t.decode(ids));  // its decoder drops the first space
    }
  }
}

TEST(StreamDecoder, SpecialTokensGiveNothingAndBrokenBytesOneReplacement) {
  Tokenizer t = parse(qwen2());
  StreamDecoder stream(t);
  EXPECT_EQ(stream.push(t.id("<|im_end|>")), "");
  EXPECT_EQ(stream.push(t.id("\u00f0")), "");  // the byte F0 begins a character
  EXPECT_EQ(stream.push(t.id("a")),
            "\uFFFD"
            "a");
}

TEST(MakeTokenizer, LearnsTheMergesThatTheLibraryLearns) {
  TempDir dir;
  auto corpus = base_corpus();
  corpus.insert(corpus.end(), corpus.begin(), corpus.begin() + 7);
  make_tokenizer(dir.path(), corpus, 601);
  json made = json::parse(read_file(dir / "tokenizer.json"));
  json theirs = json::parse(read_file(fixture("parity/data/tokenizers/gpt2.json")));
  EXPECT_EQ(made["model"]["merges"], theirs["model"]["merges"]);
  Tokenizer t = Tokenizer::load(dir.path());
  EXPECT_EQ(t.size(), 601);
  EXPECT_EQ(t.eos_id(), 600);
  EXPECT_EQ(t.pad_id(), 599);
  for (const auto& line : corpus) EXPECT_EQ(t.decode(t.encode(line)), line);
}

TEST(MakeTokenizer, ASmallAlphabetHoldsOnlyWhatTheCorpusHas) {
  TempDir dir;
  make_tokenizer(dir.path(), {"1+1=2", "2+1=3"}, 7, false);  // five characters, no room for merges
  Tokenizer t = Tokenizer::load(dir.path());
  EXPECT_EQ(t.size(), 7);
  EXPECT_EQ(t.encode("1+2=3<|eos|>").size(), 6u);
  EXPECT_EQ(t.decode(t.encode("3=2+1")), "3=2+1");
  EXPECT_THROW(make_tokenizer(dir.path(), {"1+1=2", "2+1=3"}, 6, false), UserError);
  EXPECT_THROW(make_tokenizer(dir.path(), {}, 100, false), UserError);
  EXPECT_THROW(make_tokenizer("/proc/nowhere", {"a"}, 300), RunError);
}

}  // namespace
}  // namespace rft::tokenizer_test
