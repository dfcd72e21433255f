/// Regular expressions, and texts that grow into what they ask for.
#include "rft/core/pattern.h"

#include "rft/core/error.h"
#include "support.h"

namespace rft::pattern_test {
namespace {

using testing::message_of;

std::string states(const std::string& pattern, const std::vector<std::string>& texts) {
  const GrowingPattern growing(pattern, "test");
  std::string out;
  for (const auto& text : texts) {
    const auto [complete, open] = growing.of(text);
    out += complete ? (open ? 'b' : 'c') : open ? 'o' : '-';
  }
  return out;
}

TEST(Pattern, GivesTheFirstGroupOfTheLastMatch) {
  auto last = [](const std::string& pattern, const std::string& text) {
    return Pattern(pattern, "test", {}).last_group(text);
  };
  EXPECT_EQ(last(R"(\[\[([0-9]+|A|B)\]\])", "[[3]] or rather [[12]], not [[x]]"), "12");
  EXPECT_EQ(last("(é|日)(本)?", "é日本é日本."), "日");
  EXPECT_EQ(last("verdict: (a)?b", "verdict: ab verdict: b"), std::nullopt);  // it had no part in the last one
  EXPECT_EQ(last("(a)", "b"), std::nullopt);
  EXPECT_EQ(last("a", "a"), std::nullopt);  // there is no group
  EXPECT_EQ(last("(a*)", "日aab"), "");     // matches the empty end, and comes to one
  EXPECT_EQ(last("a(a?)", "aaa"), "");
  EXPECT_EQ(Pattern("(a)(?:b)(c)", "test", {}).groups(), 2u);
}

TEST(GrowingPattern, KnowsWhatIsCompleteAndWhatMayGrow) {
  EXPECT_EQ(states("abc", {"", "a", "ab", "abc", "abcd", "b"}),
            "ooo"
            "c--");
  EXPECT_EQ(states("a*", {"", "a", "aa", "ab"}), "bbb-");
  EXPECT_EQ(states("a|ab|cd", {"", "a", "ab", "c", "cd", "d"}), "obcoc-");  // the first way that matches is not all
  EXPECT_EQ(states("[0-9]{2,3}", {"1", "12", "123", "1234"}), "obc-");
  EXPECT_EQ(states("(yes|no)\\.", {"y", "yes", "no.", "noo"}), "ooc-");
  EXPECT_EQ(states("é+x", {"é", "éx", "e"}), "oc-");
  EXPECT_EQ(states("a(?=b)b", {"a", "ab"}), "oc");
  EXPECT_EQ(states("(a+)+b", {std::string(5, 'a')}), "o");
}

TEST(GrowingPattern, GrowsToEveryPrefixOfWhatMatches) {
  const GrowingPattern balanced(R"((?<p>\((?&p)*\)))", "test");  // calls itself
  const std::string text = "(()(()))";
  for (size_t n = 0; n < text.size(); ++n) {
    EXPECT_TRUE(balanced.of(text.substr(0, n)).open) << n;
    EXPECT_FALSE(balanced.of(text.substr(0, n)).complete) << n;
  }
  EXPECT_TRUE(balanced.of(text).complete);
  EXPECT_FALSE(balanced.of(text).open);
  EXPECT_FALSE(balanced.of("())").open);
}

TEST(GrowingPattern, AsksAboutCharactersThatHaveBegun) {
  auto goes_on = [](const std::string& pattern, const std::string& text, const std::string& begun) {
    return GrowingPattern(pattern, "test").goes_on(text, begun);
  };
  EXPECT_TRUE(goes_on("é{2}", "é", "\xC3"));
  EXPECT_FALSE(goes_on("é{2}", "éé", "\xC3"));
  EXPECT_FALSE(goes_on("é{2}", "é", "\xC4"));
  EXPECT_TRUE(goes_on("日本", "日", "\xE6"));
  EXPECT_TRUE(goes_on("日本", "日", "\xE6\x9C"));
  EXPECT_FALSE(goes_on("日本", "", "\xE6\x9C"));
  EXPECT_TRUE(goes_on("[^a]+", "b", "\xF0\x9F"));
  EXPECT_FALSE(goes_on("[a-z]+", "b", "\xF0\x9F"));
}

TEST(Pattern, SaysWhatIsWrongAndGivesUp) {
  EXPECT_EQ(message_of([] { GrowingPattern("a(b", "--regex"); }),
            "[--regex] 'a(b' is no regular expression: missing closing parenthesis at character 3");
  const Pattern slow("^(a+)+$", "test", {});
  EXPECT_THROW(slow.matches(std::string(60, 'a') + "b"), RunError);
  EXPECT_THROW(slow.matches("\xff"), RunError);
  EXPECT_TRUE(slow.matches("aaa"));
}

TEST(Pattern, ALiteralIsItself) {
  const std::string text = "a.b*(c)[d]\\ \"e\" {f}\n\x01 é|^$";
  EXPECT_TRUE(Pattern(literal_pattern(text), "test", {.whole = true}).matches(text));
  EXPECT_FALSE(Pattern(literal_pattern(text), "test", {.whole = true}).matches("aXb*(c)[d]\\ \"e\" {f}\n\x01 é|^$"));
}

}  // namespace
}  // namespace rft::pattern_test
