/// Encoder-decoder models through the program: trained by objectives that know nothing of them, generated from, scored.
#include <filesystem>
#include <nlohmann/json.hpp>
#include <sstream>

#include "support.h"

namespace rft::seq2seq_test {
namespace {

using nlohmann::json;
using testing::read_file;
using testing::rft;
using testing::TempDir;
using testing::write_file;

std::vector<json> lines_of(const std::string& file) {
  std::vector<json> out;
  std::istringstream in(read_file(file));
  for (std::string line; std::getline(in, line);) out.push_back(json::parse(line));
  return out;
}

class Seq2SeqRuns : public ::testing::Test {
 protected:
  void SetUp() override {
    const std::vector<std::string> words{"fox", "boat", "sea", "storm", "cats", "dogs", "night", "light"};
    std::string prompts, shown, pairs;
    for (size_t i = 0; i < 16; ++i) {
      const std::string prompt = "a " + words[i % 8] + " and " + words[(i * 3 + 1) % 8], answer = words[(i + 1) % 8];
      prompts += json{{"prompt", prompt}}.dump() + "\n";
      shown += json{{"prompt", prompt}, {"completion", "the " + answer}}.dump() + "\n";
      pairs += json{{"prompt", prompt}, {"chosen", "the " + answer}, {"rejected", "three dogs"}}.dump() + "\n";
    }
    write_file(dir_ / "prompts.jsonl", prompts), write_file(dir_ / "shown.jsonl", shown);
    write_file(dir_ / "pairs.jsonl", pairs);
  }

  static std::string model() { return testing::fixture("parity/data/seq2seq/v1_1"); }

  /// Trains, then once more in two halves: both must end with the same weights.
  void trains_and_resumes(const std::string& name, const std::string& blocks, const std::string& more = "",
                          const std::string& saved = "/final/model.safetensors") {
    const std::string file = dir_ / (name + ".yaml");
    write_file(file, "run: {name: " + name + ", seed: 3, threads: 1, output: " + dir_ / name +
                         "}\npolicy: {type: seq2seq_lm, path: " + model() + more + "}\n" + blocks +
                         "\ntrain: {steps: 4, batch_size: 8, micro_batch_size: 3, log_every: 1, checkpoint_every: 2, "
                         "optimizer: {lr: 1.0e-3}}\n");
    const auto whole = rft("train " + file + " --quiet");
    ASSERT_EQ(whole.code, 0) << whole.err;
    const std::string other = dir_ / (name + "-halves");
    ASSERT_EQ(rft("train " + file + " --quiet run.output=" + other).code, 0);
    std::filesystem::remove_all(other + "/final");
    std::filesystem::remove_all(other + "/checkpoints/step-4");
    const auto resumed = rft("train " + file + " --quiet --resume run.output=" + other);
    ASSERT_EQ(resumed.code, 0) << resumed.err;
    EXPECT_EQ(read_file(dir_ / (name + saved)), read_file(other + saved));
    EXPECT_NE(read_file(dir_ / (name + saved)), read_file(model() + "/model.safetensors"));
  }

  TempDir dir_;
};

TEST_F(Seq2SeqRuns, SupervisionAndPreferencesRunAndResume) {
  trains_and_resumes("sft", "data: {train: " + dir_ / "shown.jsonl" + "}\nobjective: {type: sft}");
  auto log = lines_of(dir_ / "sft/metrics.jsonl");
  EXPECT_LT(log.back().at("loss"), log.front().at("loss"));
  trains_and_resumes("dpo", "data: {train: " + dir_ / "pairs.jsonl" + "}\nobjective: {type: dpo}");
  log = lines_of(dir_ / "dpo/metrics.jsonl");
  EXPECT_NEAR(log.front().at("loss").get<double>(), std::log(2.0), 1e-6);  // the policy is still the reference
  EXPECT_GT(log.back().at("rewards/margins"), 0.0);
}

TEST_F(Seq2SeqRuns, PolicyGradientsRunAndResume) {
  const std::string sampled = "data: {prompts: " + dir_ / "prompts.jsonl" +
                              "}\nrollout: {group_size: 4, max_new_tokens: 8}\n"
                              "reward: {type: length, form: linear, scale: 8}\nobjective: ";
  for (const auto& [name, objective] :
       std::map<std::string, std::string>{{"grpo", "{type: grpo, kl_weight: 0.01}"},
                                          {"ppo", "{type: ppo, value_weight: 0}\ncredit: {type: group_normalized}"},
                                          {"raft", "{type: raft}"}}) {
    trains_and_resumes(name, sampled + objective);
    const auto log = lines_of(dir_ / (name + "/metrics.jsonl"));
    EXPECT_LE(log.front().at("logp_mismatch"), 1e-5) << name;
    if (name == "raft") continue;
    EXPECT_EQ(log.front().at("clip_ratio/region_mean"), 0.0) << name;
  }
}

TEST_F(Seq2SeqRuns, PpoTrainsACriticThatIsSavedAndResumed) {
  for (std::string critic : {"head", "model"}) {
    trains_and_resumes("ppo_" + critic,
                       "data: {prompts: " + dir_ / "prompts.jsonl" +
                           "}\nrollout: {group_size: 2, max_new_tokens: 8}\n"
                           "reward: {type: length, form: linear, scale: 8}\nobjective: {type: ppo}",
                       ", critic: " + critic);
    const std::string final = dir_ / ("ppo_" + critic + "/final");
    EXPECT_TRUE(std::filesystem::exists(final + "/value_head.safetensors"));
    EXPECT_EQ(std::filesystem::exists(final + "/critic/model.safetensors"), critic == "model");
  }
}

TEST_F(Seq2SeqRuns, RowsThatAreTooLongAreCountedNeverCutInSilence) {
  write_file(dir_ / "long.jsonl", json{{"prompt", "a fox"}, {"completion", "a"}}.dump() + "\n" +
                                      json{{"prompt", "a fox and three boats"}, {"completion", "the"}}.dump() + "\n" +
                                      json{{"prompt", "a fox"}, {"completion", "the night and the light"}}.dump() +
                                      "\n");
  auto run = [&](const std::string& how) {
    write_file(dir_ / "long.yaml",
               "run: {threads: 1, output: " + dir_ / "long" + "}\npolicy: {type: seq2seq_lm, path: " + model() +
                   ", max_length: 5, too_long: " + how + "}\ndata: {train: " + dir_ / "long.jsonl" +
                   "}\nobjective: {type: sft}\ntrain: {steps: 1, batch_size: 3, checkpoint_every: 0}\n");
    return rft("train " + dir_ / "long.yaml");
  };
  const auto refused = run("error");
  EXPECT_EQ(refused.code, 2);
  EXPECT_NE(refused.err.find("long.jsonl:2"), std::string::npos) << refused.err;
  EXPECT_NE(refused.err.find("policy.max_length is 5"), std::string::npos) << refused.err;
  for (const auto& [how, said] : std::map<std::string, std::string>{{"drop", "0 are cut, 2 left out"},
                                                                    {"keep_start", "2 are cut, 0 left out"},
                                                                    {"keep_end", "1 are cut, 1 left out"}}) {
    const auto ran = run(how);
    EXPECT_EQ(ran.code, 0) << ran.err;
    EXPECT_NE(ran.err.find("2 of 3 rows have more than 5 tokens: " + said), std::string::npos) << how << ran.err;
  }
}

TEST_F(Seq2SeqRuns, AdaptersAreTrainedContinuedAndMerged) {
  const std::string blocks = "data: {train: " + dir_ / "pairs.jsonl" + "}\nobjective: {type: dpo}";
  trains_and_resumes("lora", blocks, ", lora: {rank: 2, alpha: 8, dora: true}", "/final/adapter_model.safetensors");
  const auto log = lines_of(dir_ / "lora/metrics.jsonl");
  EXPECT_NEAR(log.front().at("loss").get<double>(), std::log(2.0), 1e-6);  // B is zero: the policy is the reference
  EXPECT_GT(log.back().at("rewards/margins"), 0.0);

  const std::string adapter = dir_ / "lora/final", merged = dir_ / "merged";
  const auto ran = rft("merge " + adapter + " --out " + merged);
  ASSERT_EQ(ran.code, 0) << ran.err;
  EXPECT_FALSE(std::filesystem::exists(merged + "/adapter_config.json"));
  auto scores = [&](const std::string& of) {
    const auto scored = rft("logprob " + of + " --data " + dir_ / "shown.jsonl" + " --out " + dir_ / "scores.jsonl");
    EXPECT_EQ(scored.code, 0) << scored.err;
    std::vector<double> out;
    for (const auto& row : lines_of(dir_ / "scores.jsonl")) out.push_back(row.at("sum"));
    return out;
  };
  const auto base = scores(model()), with = scores(adapter), whole = scores(merged);
  double learned = 0;
  for (size_t i = 0; i < with.size(); ++i) {
    EXPECT_NEAR(whole[i], with[i], 1e-4);
    learned += std::abs(with[i] - base[i]);
  }
  EXPECT_GT(learned, 1e-3);
  // Training goes on from the adapters, whose reference is the base.
  const std::string file = dir_ / "on.yaml";
  write_file(file, "run: {threads: 1, output: " + dir_ / "on" + "}\npolicy: {type: seq2seq_lm, path: " + adapter +
                       "}\n" + blocks + "\ntrain: {steps: 1, batch_size: 8, checkpoint_every: 0}\n");
  const auto on = rft("train " + file + " --quiet");
  ASSERT_EQ(on.code, 0) << on.err;
  EXPECT_LT(lines_of(dir_ / "on/metrics.jsonl").front().at("loss").get<double>(), std::log(2.0) - 1e-7);
}

TEST_F(Seq2SeqRuns, GenerateAndLogprobTakeTheDirectory) {
  const auto made = rft("generate " + model() + " --prompts " + dir_ / "prompts.jsonl" + " --out " +
                        dir_ / "out.jsonl" + " --max-new-tokens 12 --samples 2 --seed 5 --quiet");
  ASSERT_EQ(made.code, 0) << made.err;
  const auto answers = lines_of(dir_ / "out.jsonl");
  ASSERT_EQ(answers.size(), 32u);
  std::string rows;
  for (const auto& row : answers) rows += json{{"prompt", row.at("prompt")}, {"completion", "the sea"}}.dump() + "\n";
  write_file(dir_ / "given.jsonl", rows);
  const auto scored = rft("logprob " + model() + " --data " + dir_ / "given.jsonl" + " --out " + dir_ / "scores.jsonl");
  ASSERT_EQ(scored.code, 0) << scored.err;
  const auto scores = lines_of(dir_ / "scores.jsonl");
  ASSERT_EQ(scores.size(), 32u);
  EXPECT_LT(scores[0].at("sum"), 0.0);
  EXPECT_NEAR(scores[0].at("sum").get<double>(), scores[1].at("sum").get<double>(), 1e-5);
  const auto refused = rft("serve " + model());
  EXPECT_EQ(refused.code, 2);
  EXPECT_NE(refused.err.find("T5ForConditionalGeneration"), std::string::npos) << refused.err;
}

TEST_F(Seq2SeqRuns, DataMakesAnUntrainedModel) {
  const auto made =
      rft("data --out " + dir_ / "data" +
          " --architecture t5 --digits 2 --demonstrations 20 --train 8 --test 4 --hidden-size 32 --layers 1");
  ASSERT_EQ(made.code, 0) << made.err;
  const auto answered = rft("generate " + dir_ / "data/model" + " --prompts " + dir_ / "data/test.jsonl" + " --out " +
                            dir_ / "out.jsonl" + " --max-new-tokens 4 --quiet");
  ASSERT_EQ(answered.code, 0) << answered.err;
  EXPECT_EQ(lines_of(dir_ / "out.jsonl").size(), 4u);
}

}  // namespace
}  // namespace rft::seq2seq_test
