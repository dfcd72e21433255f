#include <nlohmann/json.hpp>

#include "rft/text/tokenizer.h"
#include "support.h"

namespace rft::tokenize_command_test {
namespace {

using nlohmann::json;
using testing::read_file;
using testing::TempDir;
using testing::write_file;

class TokenizeCommand : public ::testing::Test {
 protected:
  void SetUp() override { make_tokenizer(dir / "model", {"hello world, hello you"}, 300); }
  testing::Ran run(const std::string& in, const std::string& more = "") {
    write_file(dir / "in.jsonl", in);
    return testing::rft("tokenize " + dir / "model" + " --in " + dir / "in.jsonl" + " --out " + dir / "out.jsonl " +
                        more);
  }
  TempDir dir;
};

TEST_F(TokenizeCommand, IdsAndTextsGoThereAndBack) {
  auto ran = run("{\"text\": \"hello w\\u00f6rld\"}\n\n{\"text\": \"\", \"more\": 1}\n");
  ASSERT_EQ(ran.code, 0) << ran.err;
  std::string ids = read_file(dir / "out.jsonl");
  Tokenizer t = Tokenizer::load(dir / "model");
  EXPECT_EQ(json::parse(ids.substr(0, ids.find('\n')))["ids"].get<std::vector<int64_t>>(), t.encode("hello wörld"));
  ASSERT_EQ(run(ids, "--decode").code, 0);
  EXPECT_EQ(read_file(dir / "out.jsonl"), "{\"text\":\"hello wörld\"}\n{\"text\":\"\"}\n");
}

TEST_F(TokenizeCommand, AWrongRowEndsItWithItsLineAndWritesNothing) {
  for (auto [rows, more, named] : std::vector<std::array<std::string, 3>>{
           {"{\"text\": \"a\"}\n{\"txt\": \"b\"}\n", "", ":2] a column `text` is needed; did you mean 'txt'"},
           {"{\"text\": \"a\"}\n{\"text\": 7}\n", "", ":2]"},
           {"{\"ids\": [1]}\n{\"ids\": [100000]}\n", "--decode", ":2]"},
           {"{\"ids\": [-1]}\n", "--decode", ":1]"},
           {"nonsense\n", "", ":1:"}}) {
    auto ran = run(rows, more);
    EXPECT_EQ(ran.code, 2) << ran.err;
    EXPECT_NE(ran.err.find(named), std::string::npos) << ran.err;
    EXPECT_FALSE(std::filesystem::exists(dir / "out.jsonl"));
  }
}

TEST_F(TokenizeCommand, HelpHasAnExample) {
  auto ran = testing::rft("tokenize --help");
  EXPECT_EQ(ran.code, 0);
  EXPECT_NE(ran.out.find("Example:"), std::string::npos);
}

}  // namespace
}  // namespace rft::tokenize_command_test
