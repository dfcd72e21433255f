// Adapters that are trained beside others which stay as they are.
#include <cmath>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <sstream>

#include "support.h"

namespace rft::frozen_adapters_test {
namespace {

using nlohmann::json;
using testing::read_file;
using testing::TempDir;
using testing::write_file;
namespace fs = std::filesystem;

class FrozenAdapters : public ::testing::Test {
 protected:
  void SetUp() override {
    run("data --out " + dir_ / "data" +
        " --digits 2 --demonstrations 40 --train 16 --test 8 --hidden-size 32 --layers 2");
    train("first", "lora: {rank: 4, target_modules: [q_proj, down_proj]}", kShown, "steps: 20");
  }
  std::string run(const std::string& arguments, int code = 0) {
    auto result = testing::rft(arguments);
    EXPECT_EQ(result.code, code) << arguments << "\n" << result.err;
    return result.err;
  }
  /// Trains what `policy` says on the base (or on `path`), with `blocks`.
  std::string train(const std::string& name, const std::string& policy, const std::string& blocks,
                    const std::string& steps, const std::string& path = "", int code = 0) {
    write_file(dir_ / (name + ".yaml"),
               "run: {name: " + name + ", seed: 1, threads: 1, output: " + dir_ / name +
                   "}\npolicy: {type: causal_lm, path: " + (path.empty() ? dir_ / "data/model" : path) + ", " + policy +
                   "}\n" + blocks + "\ntrain: {" + steps +
                   ", batch_size: 16, log_every: 1, checkpoint_every: 0, samples_every: 0, optimizer: {lr: 1.0e-2}}\n");
    return run("train " + dir_ / (name + ".yaml") + " --quiet", code);
  }
  std::vector<json> metrics(const std::string& name) {
    std::vector<json> out;
    std::istringstream in(read_file(dir_ / (name + "/metrics.jsonl")));
    for (std::string line; std::getline(in, line);) out.push_back(json::parse(line));
    return out;
  }
  std::vector<double> sums(const std::string& model) {
    run("logprob " + model + " --data " + dir_ / "data/sft.jsonl" + " --out " + dir_ / "scores.jsonl");
    std::vector<double> out;
    std::istringstream lines(read_file(dir_ / "scores.jsonl"));
    for (std::string line; std::getline(lines, line);) out.push_back(json::parse(line)["sum"]);
    return out;
  }
  std::string beside() const { return "frozen_adapters: [" + dir_ / "first/final" + "], lora: {rank: 2}"; }

  TempDir dir_;
  const std::string kShown = "data: {train: " + dir_ / "data/sft.jsonl" + "}\nobjective: {type: sft}";
  const std::string kPairs = "data: {train: " + dir_ / "data/pairs.jsonl" + "}\nobjective: {type: dpo}";
};

TEST_F(FrozenAdapters, ArePartOfTheBaseAndOfTheReference) {
  train("second", beside(), kPairs, "steps: 4");
  EXPECT_NEAR(metrics("second").front().at("loss").get<double>(), std::log(2.0), 1e-6);  // the reference has them too
  EXPECT_GT(metrics("second").back().at("rewards/margins").get<double>(), 0);
  const std::string final = dir_ / "second/final";
  for (const char* file : {"/adapter_config.json", "/adapter_model.safetensors"})
    EXPECT_EQ(read_file(final + "/frozen-0" + file), read_file(dir_ / ("first/final" + std::string(file))));

  // The directory alone is the policy: base, the frozen ones and its own.
  run("merge " + final + " --out " + dir_ / "whole");
  EXPECT_FALSE(fs::exists(dir_ / "whole/frozen-0"));
  const auto base = sums(dir_ / "data/model"), first = sums(dir_ / "first/final"), both = sums(final),
             whole = sums(dir_ / "whole");
  double by_first = 0, by_second = 0;
  for (size_t i = 0; i < both.size(); ++i) {
    EXPECT_NEAR(whole[i], both[i], 2e-4);
    by_first += std::abs(first[i] - base[i]), by_second += std::abs(both[i] - first[i]);
  }
  EXPECT_GT(by_first, 1);
  EXPECT_GT(by_second, 1e-2);

  // And training goes on from it.
  train("third", "dtype: float32", kPairs, "steps: 1", final);
  EXPECT_LT(metrics("third").front().at("loss").get<double>(), std::log(2.0) - 1e-6);
  EXPECT_TRUE(fs::exists(dir_ / "third/final/frozen-0/adapter_config.json"));
}

TEST_F(FrozenAdapters, AreSampledWithAndJudgedAlikeAlsoOnAQuantizedBase) {
  const std::string sampled =
      "data: {prompts: " + dir_ / "data/train.jsonl" +
      "}\nrollout: {group_size: 4, max_new_tokens: 6}\nreward: {type: length, max: 6, cache: 3}\n"
      "objective: {type: grpo, kl_weight: 0.1}";
  for (std::string more : {"", ", quantize: int8"}) {
    train("sampled", beside() + more, sampled, "steps: 2");
    EXPECT_LE(metrics("sampled").front().at("logp_mismatch").get<double>(), 1e-5) << more;
    EXPECT_LE(metrics("sampled").front().at("kl").get<double>(), 1e-6) << more;  // the policy is the reference
  }
}

TEST_F(FrozenAdapters, WhatDoesNotFitIsNamed) {
  auto refused = [&](const std::string& policy) { return train("refused", policy, kShown, "steps: 1", "", 2); };
  EXPECT_NE(refused("frozen_adapters: [" + dir_ / "first/final" + "]").find("policy.lora"), std::string::npos);
  EXPECT_NE(refused("frozen_adapters: [" + dir_ / "data/model" + "], lora: {rank: 2}").find("no adapter directory"),
            std::string::npos);
  EXPECT_NE(refused("frozen_adapters: [" + dir_ / "first/final" + "], lora: {rank: 2, dora: true}").find("DoRA"),
            std::string::npos);
}

}  // namespace
}  // namespace rft::frozen_adapters_test
