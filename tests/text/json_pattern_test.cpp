/// JSON and JSON Schemas as patterns: what they match is JSON, and every beginning of it may go on.
#include "rft/text/json_pattern.h"

#include <nlohmann/json.hpp>

#include "rft/core/error.h"
#include "rft/core/pattern.h"
#include "support.h"

namespace rft::json_pattern_test {
namespace {

using testing::message_of;

/// Every prefix of a whole text may go on, and what it comes to is complete.
void expect_grows(const GrowingPattern& pattern, const std::string& text) {
  for (size_t n = 0; n < text.size(); ++n) {
    if ((static_cast<unsigned char>(text[n]) & 0xC0) == 0x80) continue;  // inside a character
    EXPECT_TRUE(pattern.of(text.substr(0, n)).open) << text.substr(0, n);
  }
  EXPECT_TRUE(pattern.of(text).complete) << text;
}

GrowingPattern of_schema(const std::string& schema) {
  return GrowingPattern(json_schema_pattern(schema, "schema"), "schema");
}

bool matches(const GrowingPattern& pattern, const std::string& text) { return pattern.of(text).complete; }

TEST(JsonPattern, AnyObject) {
  const GrowingPattern object(json_object_pattern(), "test");
  for (const char* text : {"{}", R"({"a": 1})",
                           R"({ "a" : [1, -2.5e+3, true, null, {"b": []}], "ünï": "q\"\\\u00e9" })", "{\"a\":\n{}}"}) {
    ASSERT_TRUE(nlohmann::json::accept(text)) << text;
    expect_grows(object, text);
  }
  for (const char* text : {"", "[]", "{", "{a: 1}", R"({"a": 01})", R"({"a": 1,})", R"({"a": 'x'})", R"({"a": 1} )",
                           "{\"a\": \"\n\"}", R"({"a": "\x"})"})
    EXPECT_FALSE(matches(object, text)) << text;
}

TEST(JsonPattern, PropertiesInTheirOrderOptionalOnesOrNot) {
  auto pattern = of_schema(R"({"type": "object", "required": ["b"], "properties": {
      "a": {"type": "integer"}, "b": {"enum": ["x", 2, null]}, "c": {"type": "array", "items": {"type": "boolean"},
      "minItems": 1, "maxItems": 2}}})");
  for (const char* text : {R"({"b": "x"})", R"({"a": -7, "b": 2})", R"({"b":null,"c":[true,false]})",
                           R"({"a": 0, "b": "x", "c": [true]})"})
    expect_grows(pattern, text);
  for (const char* text : {"{}", R"({"a": 1})", R"({"b": "y"})", R"({"b": 2, "a": 1})", R"({"b": 2, "c": []})",
                           R"({"b": 2, "c": [true, true, true]})", R"({"b": 2, "d": 1})", R"({"a": 1.5, "b": 2})",
                           R"({"b": 2,})", R"({, "b": 2})"})
    EXPECT_FALSE(matches(pattern, text)) << text;
  auto loose = of_schema(R"({"properties": {"a": {"const": 1}, "b": {"const": 2}}})");
  for (const char* text : {"{}", R"({"a":1})", R"({"b":2})", R"({"a":1,"b":2})"}) expect_grows(loose, text);
}

TEST(JsonPattern, TypesAndLengthsAndReferences) {
  auto text = of_schema(R"({"type": ["string", "null"], "minLength": 2, "maxLength": 3})");
  expect_grows(text, R"("é\n")");
  expect_grows(text, "null");
  EXPECT_FALSE(matches(text, R"("a")"));
  EXPECT_FALSE(matches(text, R"("abcd")"));
  auto tree = of_schema(R"({"$defs": {"tree": {"type": "object", "required": ["left"], "properties": {
      "left": {"anyOf": [{"$ref": "#/$defs/tree"}, {"type": "number"}]}}}}, "$ref": "#/$defs/tree"})");
  expect_grows(tree, R"({"left": {"left": {"left": -1.5e3}}})");
  EXPECT_FALSE(matches(tree, R"({"left": {"left": {}}})"));
  EXPECT_TRUE(matches(of_schema("true"), "[1, {}]"));
  EXPECT_TRUE(matches(of_schema("{}"), "3"));
}

TEST(JsonPattern, SaysWhatIsNotThere) {
  auto refused = [](const std::string& schema) {
    return message_of([&] { json_schema_pattern(schema, "schema.json"); });
  };
  EXPECT_NE(refused(R"({"type": "object", "properties": {"a": {"minimum": 3}}})")
                .find("[schema.json] #/properties/a holds 'minimum', which is not implemented"),
            std::string::npos);
  EXPECT_EQ(refused(R"({"type": "text"})"),
            "[schema.json] #/type must be string, number, integer, boolean, null, array or object; got \"text\"");
  EXPECT_NE(refused(R"({"$ref": "#/$defs/none"})").find("#/$ref must be"), std::string::npos);
  EXPECT_NE(refused(R"({"required": ["a"], "properties": {"b": {}}})").find("#/required must name properties"),
            std::string::npos);
  EXPECT_NE(refused(R"({"type": "array", "minItems": 3, "maxItems": 2})").find("below its minItems"),
            std::string::npos);
  EXPECT_NE(refused(R"({"type": "string", "maxLength": 1000000})").find("0 .. 1000"), std::string::npos);
  EXPECT_NE(refused("{").find("is no JSON"), std::string::npos);
  EXPECT_NE(refused(std::string(100, '[')).find("nests deeper"), std::string::npos);
  EXPECT_NE(refused("\"" + std::string(70000, 'a') + "\"").find("bytes"), std::string::npos);
}

}  // namespace
}  // namespace rft::json_pattern_test
