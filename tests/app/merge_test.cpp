/// rft merge: adapters added to the weights of the model that they were trained on.
#include <filesystem>
#include <nlohmann/json.hpp>
#include <sstream>

#include "support.h"

namespace rft::merge_test {
namespace {

using testing::read_file;
using testing::TempDir;
using testing::write_file;
namespace fs = std::filesystem;

class Merge : public ::testing::Test {
 protected:
  std::string run(const std::string& arguments, int code = 0) {
    auto result = testing::rft(arguments);
    EXPECT_EQ(result.code, code) << arguments << "\n" << result.err;
    return result.err;
  }
  void SetUp() override {
    run("data --out " + dir_ / "data" +
        " --digits 2 --demonstrations 40 --train 8 --test 8 --hidden-size 32 --layers 2");
    write_file(dir_ / "recipe.yaml", "run: {name: adapted, seed: 0, output: " + dir_ / "adapted" +
                                         "}\npolicy: {type: causal_lm, path: " + dir_ / "data/model" +
                                         ", lora: {rank: 4, dora: true, rank_pattern: {q_proj: 2}, modules_to_save: "
                                         "[embed_tokens]}}\ndata: {train: " +
                                         dir_ / "data/sft.jsonl" +
                                         "}\nobjective: {type: sft}\ntrain: {steps: 20, batch_size: 16, "
                                         "checkpoint_every: 0, samples_every: 0, optimizer: {lr: 2.0e-2}}\n");
    run("train " + dir_ / "recipe.yaml");
  }
  std::vector<double> sums(const std::string& model) {
    run("logprob " + model + " --data " + dir_ / "data/sft.jsonl" + " --out " + dir_ / "scores.jsonl");
    std::vector<double> out;
    std::istringstream lines(read_file(dir_ / "scores.jsonl"));
    for (std::string line; std::getline(lines, line);) out.push_back(nlohmann::json::parse(line)["sum"]);
    return out;
  }
  TempDir dir_;
};

TEST_F(Merge, GivesAWholeModelThatComputesTheSame) {
  std::string adapter = dir_ / "adapted/final", merged = dir_ / "merged";
  run("merge " + adapter + " --out " + merged);
  EXPECT_TRUE(fs::exists(merged + "/tokenizer.json") && fs::exists(merged + "/model.safetensors"));
  EXPECT_FALSE(fs::exists(merged + "/adapter_config.json"));
  auto base = sums(dir_ / "data/model"), with = sums(adapter), one = sums(merged);
  ASSERT_EQ(with.size(), one.size());
  double learned = 0;
  for (size_t i = 0; i < with.size(); ++i) {
    EXPECT_NEAR(one[i], with[i], 2e-4);
    learned += with[i] - base[i];
  }
  EXPECT_GT(learned, 1);
}

TEST_F(Merge, SaysWhatIsMissingAndTouchesNothing) {
  std::string adapter = dir_ / "adapted/final", model = dir_ / "data/model";
  std::string before = read_file(model + "/model.safetensors");
  EXPECT_NE(run("merge " + adapter + " --out " + model, 2).find("exists; name a directory that does not"),
            std::string::npos);
  EXPECT_NE(run("merge " + model + " --out " + dir_ / "new", 2).find("is no adapter directory"), std::string::npos);
  EXPECT_FALSE(fs::exists(dir_ / "new"));
  EXPECT_EQ(read_file(model + "/model.safetensors"), before);
  fs::rename(model, dir_ / "elsewhere");
  EXPECT_NE(run("merge " + adapter + " --out " + dir_ / "new", 2).find("base_model_name_or_path"), std::string::npos);
  EXPECT_FALSE(fs::exists(dir_ / "new")) << "nothing is made before the base is read";
  run("merge " + adapter + " --base " + dir_ / "elsewhere" + " --out " + dir_ / "found");
  EXPECT_TRUE(fs::exists(dir_ / "found/model.safetensors"));
}

}  // namespace
}  // namespace rft::merge_test
