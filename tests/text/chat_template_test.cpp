/// Chat templates against transformers and Jinja2 (tests/parity/make_chat_templates.py).
#include "rft/text/chat_template.h"

#include <cstdlib>
#include <ctime>
#include <nlohmann/json.hpp>

#include "rft/core/error.h"
#include "support.h"

namespace rft::chat_template_test {
namespace {

using Json = nlohmann::ordered_json;

const Json& golden() {
  static const Json data = [] {
    const char* other = std::getenv("RFT_CHAT_TEMPLATES");  // all that TRL ships, made with --all
    return Json::parse(testing::read_file(other ? other : testing::fixture("parity/data/chat/templates.json")));
  }();
  return data;
}

std::string rendered(const std::string& source, const std::string& chat) {
  return ChatTemplate::parse(source, "template", golden().at("tokens").dump()).render(chat);
}

/// strftime_now says the day on which the expected texts were made.
class ChatTemplateDay : public ::testing::Test {
 protected:
  void SetUp() override {
    std::tm noon{};
    noon.tm_hour = 12;
    strptime(golden().at("date").get<std::string>().c_str(), "%Y-%m-%d", &noon);
    noon.tm_isdst = -1;
    setenv("SOURCE_DATE_EPOCH", std::to_string(mktime(&noon)).c_str(), 1);
  }
  void TearDown() override { unsetenv("SOURCE_DATE_EPOCH"); }
};

TEST_F(ChatTemplateDay, RealTemplatesGiveTheTextOfTransformers) {
  ASSERT_GE(golden().at("templates").size(), 20u);
  for (const auto& [name, one] : golden().at("templates").items()) {
    auto chat = ChatTemplate::parse(one.at("source"), name, golden().at("tokens").dump());
    for (size_t i = 0; i < golden().at("chats").size(); ++i) {
      SCOPED_TRACE(name + " " + std::to_string(i));
      const Json& expected = one.at("rendered").at(i);
      std::string text;
      bool refused = false;
      try {
        text = chat.render(golden().at("chats").at(i));
      } catch (const UserError& error) {
        refused = true, text = error.what();
      }
      ASSERT_EQ(refused, expected.contains("error")) << text << "\n" << expected.dump();
      if (!refused) EXPECT_EQ(text, expected.at("text").get<std::string>());
    }
  }
}

TEST_F(ChatTemplateDay, IsSaidWhereItIsNotATime) {
  setenv("SOURCE_DATE_EPOCH", "yesterday", 1);
  EXPECT_EQ(testing::message_of([] { rendered("{{ strftime_now('%Y') }}", R"({"messages": [{"role": "user"}]})"); }),
            "[template:1] [SOURCE_DATE_EPOCH] must be seconds since 1970, a whole number; got 'yesterday'");
}

TEST(ChatTemplate, ExpressionsAndStatementsEqualThoseOfJinja2) {
  for (const auto& one : golden().at("snippets")) {
    SCOPED_TRACE(one.at(0).get<std::string>());
    EXPECT_EQ(rendered(one.at(0), R"({"messages": [{"role": "user"}]})"), one.at(1).get<std::string>());
  }
}

TEST_F(ChatTemplateDay, WhatTemplatesMarkIsWhatTransformersFinds) {
  auto marks = Json::parse(testing::read_file(testing::fixture("parity/data/chat/marks.json")));
  ASSERT_GE(marks.size(), 3u);
  for (const auto& [name, of_chats] : marks.items()) {
    const Json& source = golden().at("templates").at(name).at("source");
    auto chat = ChatTemplate::parse(source, name, golden().at("tokens").dump());
    for (size_t i = 0; i < of_chats.size(); ++i) {
      if (of_chats[i].is_null()) continue;
      SCOPED_TRACE(name + " " + std::to_string(i));
      auto marked = chat.render_marked(golden().at("chats").at(i));
      EXPECT_EQ(marked.text, chat.render(golden().at("chats").at(i)));
      EXPECT_EQ(Json(marked.answers), of_chats[i]);
    }
  }
}

TEST(ChatTemplate, RefusesAMarkThatCantBeFoundInTheText) {
  auto marked = [](const std::string& source) {
    return ChatTemplate::parse(source, "template").render_marked(R"({"messages": [{"role": "user"}]})");
  };
  auto found = marked("a{% generation %}b{% endgeneration %}{% generation %}{% endgeneration %}c");
  EXPECT_EQ(found.text, "abc");
  EXPECT_EQ(found.answers, (std::vector<std::pair<size_t, size_t>>{{1, 2}}));
  auto message =
      testing::message_of([&] { marked("\n{% set x %}{% generation %}b{% endgeneration %}{% endset %}{{ x }}"); });
  EXPECT_NE(message.find("template:2"), std::string::npos) << message;
  EXPECT_NE(message.find("{% generation %}"), std::string::npos) << message;
}

TEST(ChatTemplate, WhatJinja2RefusesIsRefusedWithItsLine) {
  for (const auto& source : golden().at("bad")) {
    SCOPED_TRACE(source.get<std::string>());
    auto message = testing::message_of(
        [&] { rendered("first line\n" + source.get<std::string>(), R"({"messages": [{"role": "user"}]})"); });
    EXPECT_NE(message.find("template:2"), std::string::npos) << message;
  }
}

TEST(ChatTemplate, IsBounded) {
  auto refuse = [](const std::string& source) {
    return testing::message_of([&] { rendered(source, R"({"messages": [{"role": "user"}]})"); });
  };
  std::string loops = "{% for a in range(9999) %}{% for b in range(9999) %}{% endfor %}{% endfor %}";
  EXPECT_NE(refuse(loops).find("operations"), std::string::npos);
  EXPECT_NE(refuse("{{ ('a' * 16000000) * 100 }}").find("bytes"), std::string::npos);
  EXPECT_NE(refuse("{% set x = 'a' * 9000000 %}{{ x }}{{ x }}").find("bytes"), std::string::npos);
  EXPECT_NE(refuse("{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}").find("deep"), std::string::npos);
  EXPECT_NE(refuse("{{ " + std::string(5000, '(') + "1" + std::string(5000, ')') + " }}").find("deep"),
            std::string::npos);
  EXPECT_NE(refuse("{{ " + std::string(5000, '-') + "1 }}").find("deep"), std::string::npos);
  EXPECT_NE(refuse(std::string(2 << 20, 'x')).find("bytes"), std::string::npos);
  std::string nested;
  for (int i = 0; i < 5000; ++i) nested += "{% if true %}";
  EXPECT_NE(refuse(nested).find("deep"), std::string::npos);
}

TEST(ChatTemplate, AttributesOfPythonAreOutOfReach) {
  auto refuse = [](const std::string& source) {
    return testing::message_of([&] { rendered(source, R"({"messages": [{"role": "user"}]})"); });
  };
  EXPECT_NE(refuse("{{ ''.__class__.__mro__ }}").find("not safe"), std::string::npos);
  EXPECT_NE(refuse("{% set ns = namespace() %}{% set ns._x = 1 %}").find("_x"), std::string::npos);
  EXPECT_NE(refuse("{{ messages.append(1) }}").find("would change"), std::string::npos);
}

TEST(ChatTemplate, IsFoundWhereTransformersKeepsIt) {
  testing::TempDir dir;
  EXPECT_FALSE(ChatTemplate::exists(dir.path()));
  EXPECT_NE(testing::message_of([&] { ChatTemplate::load(dir.path()); }).find("chat_template.jinja"),
            std::string::npos);
  testing::write_file(
      dir / "tokenizer_config.json",
      R"({"bos_token": {"content": "<b>"}, "chat_template": [{"name": "default", "template": "D{{ bos_token }}"},
                         {"name": "tool_use", "template": "T"}]})");
  EXPECT_EQ(ChatTemplate::load(dir.path()).render(R"({"messages": [{"role": "user"}]})"), "D<b>");
  EXPECT_EQ(ChatTemplate::load(dir.path(), true).render(R"({"messages": [{"role": "user"}]})"), "T");
  testing::write_file(dir / "chat_template.jinja", "J");
  EXPECT_EQ(ChatTemplate::load(dir.path()).render(R"({"messages": [{"role": "user"}]})"), "J");
}

TEST(ChatTemplate, ConversationsThatAreNoneAreNamed) {
  auto chat = ChatTemplate::parse("{{ messages }}", "t");
  for (const char* bad : {"[]", "{}", R"({"messages": []})", R"({"messages": "x"})", R"({"messages": [1]})", "{"})
    EXPECT_NE(testing::message_of([&] { chat.render(bad); }).find("conversation"), std::string::npos) << bad;
}

}  // namespace
}  // namespace rft::chat_template_test
