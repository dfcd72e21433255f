#include "rft/core/config.h"

#include "support.h"

namespace rft::config_test {
namespace {

using testing::message_of;

std::string error_of(const std::string& yaml) {
  return message_of([&] { Config::parse(yaml, "r.yaml"); });
}

bool contains(const std::string& text, const std::string& part) { return text.find(part) != std::string::npos; }

TEST(Config, KeepsOrderKindsAndPlaces) {
  Config c = Config::parse("b: 1\na: {x: [1, 'two'], y: }\n", "r.yaml");
  ASSERT_TRUE(c.is_map());
  EXPECT_EQ(c.keys(), (std::vector<std::string>{"b", "a"}));
  const Config* x = c.find("a")->find("x");
  ASSERT_TRUE(x && x->is_list());
  EXPECT_EQ(x->items()[1].second.text(), "two");
  EXPECT_TRUE(x->items()[1].second.quoted());
  EXPECT_FALSE(x->items()[0].second.quoted());
  EXPECT_TRUE(c.find("a")->find("y")->is_null());
  EXPECT_EQ(x->place(), "r.yaml:2:8 a.x");
  EXPECT_EQ(x->items()[1].second.path(), "a.x.1");
}

TEST(Config, NamesLineAndColumnOfWhatIsNotYaml) {
  EXPECT_TRUE(contains(error_of("a: 1\nb: [1, 2\nc: 3\n"), "r.yaml:"));
  EXPECT_TRUE(contains(error_of("a: 1\n  b: 2\n"), "r.yaml:2:"));
}

TEST(Config, RefusesWhatYamlWouldSwallow) {
  EXPECT_TRUE(contains(error_of("a: 1\nb: 2\na: 3\n"), "r.yaml:3:1"));
  EXPECT_TRUE(contains(error_of("a: 1\na: 3\n"), "given twice"));
  EXPECT_TRUE(contains(error_of("x: &x {a: 1}\ny: {<<: *x}\n"), "merge keys"));
  EXPECT_TRUE(contains(error_of("a: 1\n---\nb: 2\n"), "one YAML document"));
  EXPECT_TRUE(contains(error_of("? [1, 2]\n: 3\n"), "plain word"));
}

TEST(Config, LimitsDepth) {
  std::string deep(200, '[');
  EXPECT_FALSE(error_of("a: " + deep + std::string(200, ']') + "\n").empty());
}

TEST(Config, ExpandsEnvironmentOnlyWhereAsked) {
  setenv("RFT_TEST_VALUE", "seven", 1);
  Config c = Config::parse("a: x-${env:RFT_TEST_VALUE}-y\nb: ${HOME}\nc: $5\n");
  EXPECT_EQ(c.find("a")->text(), "x-seven-y");
  EXPECT_EQ(c.find("b")->text(), "${HOME}");
  EXPECT_EQ(c.find("c")->text(), "$5");
  EXPECT_TRUE(contains(error_of("a: ${env:RFT_TEST_NOT_SET}\n"), "RFT_TEST_NOT_SET"));
}

TEST(Config, OverridesReplaceAddAndIndex) {
  testing::TempDir dir;
  testing::write_file(dir / "r.yaml", "train: {steps: 5}\nreward:\n  - {type: a, weight: 1}\n  - {type: b}\n");
  Config c =
      Config::load(dir / "r.yaml", {"train.steps=10", "run.name=x", "reward.1.weight=0.5", "train.optimizer={lr: 1}"});
  EXPECT_EQ(c.find("train")->find("steps")->text(), "10");
  EXPECT_EQ(c.find("run")->find("name")->text(), "x");
  EXPECT_EQ(c.find("reward")->items()[1].second.find("weight")->text(), "0.5");
  EXPECT_EQ(c.find("train")->find("optimizer")->find("lr")->text(), "1");
  EXPECT_TRUE(contains(c.find("train")->find("steps")->place(), "command line: train.steps=10"));
  for (const char* bad : {"steps", "=3", "reward.7.weight=1", "train.steps.x=1"})
    EXPECT_TRUE(contains(message_of([&] { Config::load(dir / "r.yaml", {bad}); }), "command line")) << bad;
}

TEST(Config, WrittenYamlReadsBackTheSame) {
  Config c = Config::parse(
      "a: 'null'\nb: '1'\nc: \"line\\nbreak\"\nd: {e: [], f: {}}\ng: 'it''s: # not'\nh: '- x'\ni: -0.5\nj: ''\nk: ^.*= "
      "\\d+$\nl: [a, [b, {c: d}]]\n");
  Config again = Config::parse(c.to_yaml());
  EXPECT_EQ(again.to_yaml(), c.to_yaml());
  EXPECT_EQ(again.find("c")->text(), "line\nbreak");
  EXPECT_EQ(again.find("g")->text(), "it's: # not");
  EXPECT_EQ(again.find("k")->text(), "^.*= \\d+$");
  EXPECT_EQ(again.find("a")->text(), "null");
  EXPECT_TRUE(again.find("a")->is_scalar());
  EXPECT_EQ(again.find("l")->items()[1].second.items()[1].second.find("c")->text(), "d");
}

TEST(Config, NamesAFileThatIsNotThere) {
  EXPECT_TRUE(contains(message_of([] { Config::load("/no/such.yaml"); }), "/no/such.yaml"));
}

}  // namespace
}  // namespace rft::config_test
