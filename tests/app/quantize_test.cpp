/// Adapters on frozen weights of 8 and 4 bits, from a recipe and for generation.
#include <filesystem>
#include <nlohmann/json.hpp>
#include <sstream>

#include "rft/policy/causal_lm.h"
#include "support.h"

namespace rft::quantize_test {
namespace {

using testing::read_file;
namespace fs = std::filesystem;

class QuantizedBase : public ::testing::TestWithParam<std::string> {
 protected:
  void SetUp() override {
    ASSERT_EQ(testing::rft("data --out " + dir_ / "data" +
                           " --digits 2 --demonstrations 8 --train 8 --test 8 --hidden-size 128 --layers 2")
                  .code,
              0);
    testing::write_file(dir_ / "recipe.yaml",
                        "run: {name: small, seed: 0}\npolicy: {type: causal_lm, path: " + dir_ / "data/model" +
                            ", quantize: " + GetParam() +
                            ", lora: {rank: 4}}\ndata: {prompts: " + dir_ / "data/train.jsonl" +
                            "}\nrollout: {group_size: 4, max_new_tokens: 6}\nreward: {type: length, max: 6, "
                            "cache: 3}\nobjective: {type: grpo, kl_weight: 0.1}\n"
                            "train: {steps: 4, batch_size: 16, checkpoint_every: 2, optimizer: {lr: 1.0e-2}}\n");
  }
  testing::Ran train(const std::string& run, const std::string& rest = "") {
    return testing::rft("train " + dir_ / "recipe.yaml" + " --quiet run.output=" + dir_ / run + " " + rest);
  }
  testing::TempDir dir_;
};

TEST_P(QuantizedBase, IsSampledFromAndTrainedOnAlike) {
  auto ran = train("a");
  ASSERT_EQ(ran.code, 0) << ran.err;
  std::istringstream lines(read_file(dir_ / "a/metrics.jsonl"));
  int64_t judged = 0;
  for (std::string line; std::getline(lines, line);) {
    auto metrics = nlohmann::json::parse(line);
    if (!metrics.contains("logp_mismatch")) continue;
    EXPECT_LE(metrics.at("logp_mismatch").get<double>(), 1e-5);
    ++judged;
  }
  EXPECT_GT(judged, 0);
  EXPECT_FALSE(fs::exists(dir_ / "a/final/model.safetensors")) << "adapters alone are saved";

  ASSERT_EQ(train("b").code, 0);
  fs::remove_all(dir_ / "b/final"), fs::remove_all(dir_ / "b/checkpoints/step-4");
  ran = train("b", "--resume");
  ASSERT_EQ(ran.code, 0) << ran.err;
  EXPECT_EQ(read_file(dir_ / "a/final/adapter_model.safetensors"),
            read_file(dir_ / "b/final/adapter_model.safetensors"));

  ran = testing::rft("generate " + dir_ / "a/final" + " --prompts " + dir_ / "data/test.jsonl" + " --out " +
                     dir_ / "out.jsonl" + " --max-new-tokens 4 --quantize " + GetParam());
  EXPECT_EQ(ran.code, 0) << ran.err;
  EXPECT_TRUE(fs::exists(dir_ / "out.jsonl"));
}

TEST_P(QuantizedBase, IsNotTrainedItself) {
  auto ran = train("c", "policy.lora=null");
  EXPECT_EQ(ran.code, 2);
  EXPECT_NE(ran.err.find("policy.lora"), std::string::npos) << ran.err;
}

TEST_P(QuantizedBase, IsNotWrittenAsIfItWereAModel) {
  const CausalLm policy(CausalLm::Options{.path = dir_ / "data/model", .quantize = GetParam()});
  fs::create_directory(dir_ / "saved");
  EXPECT_NE(testing::message_of([&] { policy.save(dir_ / "saved"); }).find("policy.quantize"), std::string::npos);
  EXPECT_TRUE(fs::is_empty(dir_ / "saved"));
}

INSTANTIATE_TEST_SUITE_P(Bits, QuantizedBase, ::testing::Values("int8", "nf4"));

}  // namespace
}  // namespace rft::quantize_test
