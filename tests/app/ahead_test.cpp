// Whole runs whose rollouts are sampled ahead: reproducible, resumable, and by the weights that they should be of.
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <nlohmann/json.hpp>

#include "tiny_task.h"

namespace rft::ahead_test {
namespace {
namespace fs = std::filesystem;
using testing::Ran;
using testing::read_file;

/// A tiny task and a recipe on it: two updates on each rollout, of 32 rows in two pieces.
class Task : public testing::TinyTask {
 public:
  explicit Task(const std::string& rollout = "ahead: 2", const std::string& objective = "kl_weight: 0.01") {
    recipe("recipe.yaml", "threads: 1, ",
           "data: {prompts: " + data("train.jsonl") + ", eval: " + data("test.jsonl") +
               "}\nrollout: {group_size: 4, max_new_tokens: 16, batch_size: 32, " + rollout + R"(}
reward:
  - {type: math_answer}
  - {type: length, form: linear, scale: 50, weight: 0.5}
objective: {type: grpo, )" +
               objective +
               R"(}
train: {steps: 12, batch_size: 16, eval_every: 5, checkpoint_every: 3, keep_checkpoints: 0, samples_every: 1,
        optimizer: {lr: 1.0e-3}}
)");
  }
  Ran train(const std::string& run, const std::string& more = "") const {
    return testing::rft("train " + output("recipe.yaml") + " run.output=" + output(run) + " " + more + " --quiet");
  }
  std::string weights(const std::string& run) const { return read_file(output(run) + "/final/model.safetensors"); }
  std::vector<nlohmann::json> lines(const std::string& run, const std::string& file) const {
    std::vector<nlohmann::json> out;
    std::istringstream in(read_file(output(run) + "/" + file));
    for (std::string line; std::getline(in, line);) out.push_back(nlohmann::json::parse(line));
    return out;
  }
  /// metrics.jsonl without what depends on the clock and the machine.
  std::vector<nlohmann::json> metrics(const std::string& run) const {
    auto out = lines(run, "metrics.jsonl");
    for (auto& row : out)
      for (auto at = row.begin(); at != row.end();) {
        bool tells_time = at.key().rfind("time/", 0) == 0 || at.key().rfind("memory/", 0) == 0;
        at = tells_time || at.key() == "step_time" || at.key() == "tokens_per_second" ? row.erase(at) : std::next(at);
      }
    return out;
  }
  /// The completions that samples.jsonl shows of a step.
  std::vector<std::string> completions(const std::string& run, int64_t step) const {
    std::vector<std::string> out;
    for (const auto& row : lines(run, "samples.jsonl"))
      if (row.at("step") == step) out.push_back(row.at("completion"));
    return out;
  }
};

TEST(Ahead, EachRolloutIsOfTheWeightsThatItsNumberSays) {
  Task task;
  // Weights that do not move: what the first ones answer to every rollout.
  ASSERT_EQ(task.train("still", "rollout.ahead=0 train.optimizer.lr=1.0e-30").code, 0);
  ASSERT_EQ(task.train("now", "rollout.ahead=0").code, 0);
  ASSERT_EQ(task.train("ahead").code, 0);
  for (int64_t step : {1, 3, 5}) {  // rollouts 0, 1 and 2
    EXPECT_FALSE(task.completions("ahead", step).empty());
    EXPECT_EQ(task.completions("ahead", step), task.completions("still", step)) << step;
  }
  EXPECT_EQ(task.completions("now", 1), task.completions("still", 1));
  EXPECT_NE(task.completions("now", 5), task.completions("still", 5));
  EXPECT_NE(task.completions("ahead", 11), task.completions("still", 11));
  auto rows = task.metrics("ahead");
  for (size_t i = 0; i < rows.size(); i += 2) {
    double old = std::min<double>(static_cast<double>(i), 4);
    EXPECT_EQ(rows[i].at("staleness"), old) << i;
    double most = rows[i].at("importance/max"), mean = rows[i].at("importance/mean");
    EXPECT_GE(most, mean);
    EXPECT_EQ(most > 1 + 1e-4, old > 0) << most << " of step " << i + 1;
    EXPECT_NEAR(mean, 1, 0.2);
    EXPECT_LT(rows[i].at("epoch").get<double>(), 0.1 * static_cast<double>(i / 2 + 1)) << "of what was learned from";
  }
  EXPECT_FALSE(task.metrics("now").at(0).contains("staleness"));
}

TEST(Ahead, TheSameRunBitForBitAndResumedFromAnyCheckpoint) {
  for (const char* rollout : {"ahead: 1", "ahead: 2, recompute_logp: true"}) {
    Task task(rollout, "sampler_correction: token_truncate");
    ASSERT_EQ(task.train("a").code, 0);
    ASSERT_EQ(task.train("b").code, 0);
    auto rows = task.metrics("a");
    EXPECT_EQ(rows, task.metrics("b"));
    EXPECT_EQ(task.weights("a"), task.weights("b"));
    // The weights that the objective corrects by are those, where ratios are against the trainer's own judgement.
    const char* corrected = "sampling/importance_sampling_ratio/mean";
    bool decoupled = std::string(rollout).find("recompute") != std::string::npos;
    for (size_t i = 4; i < rows.size(); i += 2) {
      EXPECT_LT(rows[i].at("importance/max").get<double>(), 3) << "else truncated";
      double weight = rows[i].at("importance/mean");
      EXPECT_NE(weight, 1);
      EXPECT_NEAR(rows[i].at(corrected).get<double>(), decoupled ? weight : 1, 1e-5);
    }
    for (int step : {9, 6, 3}) {  // between rollouts, or in the middle of one
      fs::remove_all(task.output("b") + "/final");
      for (int later = step + 1; later <= 12; ++later)
        fs::remove_all(task.output("b") + "/checkpoints/step-" + std::to_string(later));
      Ran resumed = task.train("b", "--resume");
      ASSERT_EQ(resumed.code, 0) << resumed.err;
      EXPECT_EQ(task.metrics("a"), task.metrics("b")) << step;
      EXPECT_EQ(task.weights("a"), task.weights("b")) << step;
    }
  }
}

TEST(Ahead, ASignalSavesWhatWasSampledAhead) {
  Task task;
  ASSERT_EQ(task.train("whole", "train.steps=60 train.checkpoint_every=0").code, 0);
  std::string recipe = task.output("recipe.yaml"), output = "run.output=" + task.output("cut");
  pid_t child = fork();
  if (child == 0) {
    if (!freopen("/dev/null", "w", stderr) || !freopen("/dev/null", "w", stdout)) _exit(3);
    execl(RFT_PROGRAM, RFT_PROGRAM, "train", recipe.c_str(), output.c_str(), "train.steps=60",
          "train.checkpoint_every=0", "--quiet", nullptr);
    _exit(3);
  }
  for (int i = 0; i < 6000 && !fs::exists(task.output("cut") + "/metrics.jsonl"); ++i) usleep(10000);
  kill(child, SIGTERM);
  int status = 0;
  waitpid(child, &status, 0);
  ASSERT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 130) << "it ended before the signal came";
  Ran resumed = task.train("cut", "train.steps=60 train.checkpoint_every=0 --resume");
  ASSERT_EQ(resumed.code, 0) << resumed.err;
  EXPECT_EQ(task.weights("whole"), task.weights("cut"));
}

TEST(Ahead, AdaptersAreCopiedToo) {
  Task task;
  std::string lora = "policy.lora.rank=2 ";
  ASSERT_EQ(task.train("still", lora + "rollout.ahead=0 train.optimizer.lr=1.0e-30").code, 0);
  ASSERT_EQ(task.train("ahead", lora + "train.optimizer.lr=0.1").code, 0);
  EXPECT_EQ(task.completions("ahead", 5), task.completions("still", 5));
  EXPECT_NE(task.completions("ahead", 7), task.completions("still", 7));
}

TEST(Ahead, WhatItCannotDoIsSaid) {
  Task task;
  auto said = [&](const std::string& more) {
    Ran ran = testing::rft("check " + task.output("recipe.yaml") + " " + more);
    EXPECT_EQ(ran.code, 2) << more;
    return ran.err;
  };
  auto expect = [&](const std::string& more, const std::string& message) {
    std::string err = said(more);
    EXPECT_NE(err.find(message), std::string::npos) << err;
  };
  expect("rollout.ahead=-1", "rollout.ahead] must be >= 0");
  expect("train.tensor_parallel=2", "recipe.yaml:4:");
  expect("train.tensor_parallel=2", "rollout.ahead] a divided model");
  expect("'objective={type: sft}'", "rollout.ahead] answers to prompts are sampled ahead");
  expect("rollout.recompute_logp=true", "objective.sampler_correction");
  EXPECT_EQ(testing::rft("check " + task.output("recipe.yaml") +
                         " rollout.recompute_logp=true objective.sampler_correction=token_truncate")
                .code,
            0);
}

}  // namespace
}  // namespace rft::ahead_test
