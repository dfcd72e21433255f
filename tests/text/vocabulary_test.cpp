// One token a character.
#include "rft/text/vocabulary.h"

#include "support.h"

namespace rft::vocabulary_test {
namespace {

using Ids = std::vector<int64_t>;

TEST(Vocabulary, ReadsCharactersAndNames) {
  testing::TempDir dir;
  testing::write_file(dir / "vocab.txt", "<pad>\nA\n\xC3\xA4\r\n<\n<mask>\n");
  Vocabulary v = Vocabulary::load(dir.path());
  EXPECT_EQ(v.size(), 5);
  EXPECT_EQ(v.encode("A<mask>\xC3\xA4<A", "here"), (Ids{1, 4, 2, 3, 1}));
  EXPECT_EQ(v.decode({1, 4, 2}), "A<mask>\xC3\xA4");
  EXPECT_EQ(v.decode({0, 1, 4}, /*skip_special=*/true), "A");
  EXPECT_EQ(v.id("<mask>"), 4);
  EXPECT_EQ(v.id("B"), -1);
  EXPECT_TRUE(v.is_special(4) && !v.is_special(3));
  EXPECT_NE(testing::message_of([&] { v.encode("AB", "rows.jsonl:3"); }).find("rows.jsonl:3"), std::string::npos);
  EXPECT_NE(testing::message_of([&] { v.decode({5}); }).find("0 .. 4"), std::string::npos);
}

TEST(Vocabulary, BadFilesAndTextsAreNamed) {
  testing::TempDir dir;
  auto refused = [&](const std::string& text) {
    testing::write_file(dir / "vocab.txt", text);
    return testing::message_of([&] { Vocabulary::load(dir.path()); });
  };
  EXPECT_NE(refused("A\n\nB\n").find("vocab.txt:2"), std::string::npos);
  EXPECT_NE(refused("A\nB\nA\n").find("vocab.txt:3"), std::string::npos);
}

}  // namespace
}  // namespace rft::vocabulary_test
