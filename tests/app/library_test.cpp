// rft as a library: installed, found by a project outside the tree, extended there, and run.
#include "app/methods.h"
#include "rft/core/registry.h"
#include "rft/credit/credit.h"
#include "rft/objective/objective.h"
#include "rft/policy/policy.h"
#include "rft/select/selector.h"
#include "support.h"

namespace rft::library_test {
namespace {
namespace fs = std::filesystem;

TEST(Library, AProjectOutsideTheTreeAddsAnObjectiveAndTrainsWithIt) {
  testing::TempDir dir;
  std::string build = fs::path(RFT_PROGRAM).parent_path().string();
  auto step = [](const std::string& command) {
    auto ran = testing::run(command);
    ASSERT_EQ(ran.code, 0) << command << "\n" << ran.out << ran.err;
  };
  step("cmake --install " + build + " --prefix " + dir / "prefix");
  fs::copy(fs::path(RFT_SOURCE_DIR) / "examples/custom_objective", dir / "project", fs::copy_options::recursive);
  step("cmake -S " + dir / "project" + " -B " + dir / "build" + " -DCMAKE_PREFIX_PATH=" + dir / "prefix");
  step("cmake --build " + dir / "build");
  std::string program = dir / "build/custom";
  step(program + " data --out " + dir / "data" +
       " --hidden-size 32 --layers 1 --demonstrations 50 --train 40 --test 5");
  testing::write_file(dir / "recipe.yaml",
                      "run: {output: " + dir / "run" + "}\npolicy: {type: causal_lm, path: " + dir / "data/model" +
                          "}\ndata: {prompts: " + dir / "data/train.jsonl" +
                          "}\nrollout: {group_size: 4, max_new_tokens: 8}\n"
                          "reward: [{type: ends_well}, {type: length, form: linear, scale: 8}]\n"
                          "objective: {type: tempered_reinforce, weight: 0.01}\ntrain: {steps: 3, batch_size: 16}\n");
  step(program + " train " + dir / "recipe.yaml" + " --quiet");
  EXPECT_TRUE(fs::exists(dir / "run/final/model.safetensors"));
  EXPECT_NE(testing::read_file(dir / "run/metrics.jsonl").find("rewards/ends_well/mean"), std::string::npos);
  EXPECT_EQ(testing::run(program + " describe tempered_reinforce").code, 0);
}

TEST(Docs, TheOptionsPageIsWhatTheProgramSays) {
  auto ran = testing::rft("describe --markdown");
  ASSERT_EQ(ran.code, 0) << ran.err;
  EXPECT_EQ(ran.out, testing::read_file(std::string(RFT_SOURCE_DIR) + "/docs/options.md"))
      << "run: build/release/rft describe --markdown > docs/options.md";
}

TEST(Docs, TheMethodsPageIsWhatTheProgramSaysAndItsRecipesAreThere) {
  auto ran = testing::rft("list methods --markdown");
  ASSERT_EQ(ran.code, 0) << ran.err;
  EXPECT_EQ(ran.out, testing::read_file(std::string(RFT_SOURCE_DIR) + "/docs/methods.md"))
      << "run: build/release/rft list methods --markdown > docs/methods.md";
  register_builtins();
  for (const auto& method : app::methods()) {
    if (!method.recipe.empty())
      EXPECT_TRUE(fs::exists(std::string(RFT_SOURCE_DIR) + "/configs/" + method.recipe)) << method.recipe;
    auto blocks = Config::parse(method.composition, method.name);
    auto block = [&](const char* key) { return blocks.find(key); };
    if (block("objective")) EXPECT_NO_THROW(registry<Objective>().make(*block("objective"))) << method.name;
    if (block("credit")) EXPECT_NO_THROW(registry<Credit>().make(*block("credit"))) << method.name;
    if (block("select")) EXPECT_NO_THROW(registry<Selector>().make(*block("select"))) << method.name;
    if (block("policy")) EXPECT_TRUE(registry<Policy>().find(block("policy")->find("type")->text())) << method.name;
  }
}

TEST(Docs, EveryRecipeInTheTreeIsValidButForItsFiles) {
  for (const auto& entry : fs::recursive_directory_iterator(std::string(RFT_SOURCE_DIR) + "/configs")) {
    if (!entry.is_regular_file()) continue;
    auto ran = testing::rft("check " + entry.path().string());
    bool only_files = ran.err.find("there is no model directory") != std::string::npos ||
                      ran.err.find("there is no such directory") != std::string::npos ||
                      ran.err.find("there is no file") != std::string::npos ||
                      ran.err.find("No such file or directory") != std::string::npos;
    EXPECT_TRUE(ran.code == 0 || only_files) << entry.path() << ": " << ran.err;
  }
}

TEST(Commands, EachHasHelpWithAnExample) {
  for (const char* command : {"train", "check", "list", "describe", "generate", "logprob", "tokenize", "score",
                              "assess", "loss", "plot", "bench", "data", "act"}) {
    auto ran = testing::rft(std::string(command) + " --help");
    EXPECT_EQ(ran.code, 0) << command;
    EXPECT_NE(ran.out.find("Example: rft "), std::string::npos) << command;
  }
}

TEST(Commands, WrongArgumentsAreTheUsersMistake) {
  EXPECT_EQ(testing::rft("tain").code, 2);
  EXPECT_EQ(testing::rft("").code, 2);
  EXPECT_EQ(testing::rft("train").code, 2);
  EXPECT_EQ(testing::rft("list objective").code, 2);
  auto ran = testing::rft("describe gropo");
  EXPECT_EQ(ran.code, 2);
  EXPECT_NE(ran.err.find("did you mean 'grpo'?"), std::string::npos);
}

}  // namespace
}  // namespace rft::library_test
