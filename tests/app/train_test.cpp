// Whole runs of the program: reproducible, resumable at any moment, and clear about what is wrong.
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <csignal>
#include <nlohmann/json.hpp>
#include <set>
#include <thread>

#include "tiny_task.h"

namespace rft::train_test {
namespace {
namespace fs = std::filesystem;
using testing::Ran;
using testing::read_file;
using testing::TempDir;
using testing::write_file;

/// A tiny task and a recipe of two stages on it.
class Task : public testing::TinyTask {
 public:
  Task() {
    two_stages("recipe.yaml", "threads: 1, ", "steps: 8, batch_size: 16, checkpoint_every: 3, optimizer: {lr: 1.0e-3}",
               "batch_size: 32",
               "steps: 12, batch_size: 16, iterations: 2, eval_every: 5, checkpoint_every: 2, optimizer: {lr: 1.0e-3}");
  }
  std::string recipe() const { return output("recipe.yaml"); }
  Ran train(const std::string& run, const std::string& more = "") const {
    return testing::rft("train " + recipe() + " run.output=" + output(run) + " " + more + " --quiet");
  }
};

/// metrics.jsonl without what depends on the clock and the machine.
std::string steady_metrics(const std::string& run) {
  std::string out;
  std::istringstream lines(read_file(run + "/metrics.jsonl"));
  for (std::string line; std::getline(lines, line);) {
    auto json = nlohmann::json::parse(line);
    for (const char* name : {"step_time", "time/rollout", "time/reward", "time/reward_beside", "time/judge",
                             "time/train", "tokens_per_second", "memory/peak_bytes"})
      json.erase(name);
    out += json.dump() + "\n";
  }
  return out;
}

std::string weights(const std::string& run) { return read_file(run + "/final/model.safetensors"); }

TEST(Train, MixesSeveralFilesAndResumesInTheMiddle) {
  Task task;
  std::string recipe = task.output("mix.yaml");
  write_file(recipe, "run: {name: mix, seed: 1, threads: 1, output: " + task.output("x") +
                         "}\npolicy: {type: causal_lm, path: " + task.data("model") + "}\ndata: {train: [" +
                         task.data("sft.jsonl") + ", " + task.data("gold.jsonl") + "], weights: [1, 3]}\n" +
                         "objective: {type: sft}\ntrain: {steps: 6, batch_size: 8, checkpoint_every: 2, " +
                         "optimizer: {lr: 1.0e-3}}\n");
  auto train = [&](const std::string& run, const std::string& rest) {
    return testing::rft("train " + recipe + " --quiet run.output=" + task.output(run) + " " + rest);
  };
  ASSERT_EQ(train("whole", "").code, 0);
  ASSERT_EQ(train("cut", "").code, 0);
  fs::remove_all(task.output("cut") + "/final");
  fs::remove_all(task.output("cut") + "/checkpoints/step-6");
  Ran resumed = train("cut", "--resume");
  ASSERT_EQ(resumed.code, 0) << resumed.err;
  EXPECT_EQ(weights(task.output("whole")), weights(task.output("cut")));
  EXPECT_EQ(train("even", "data.weights=[1,1]").code, 0);
  EXPECT_NE(weights(task.output("whole")), weights(task.output("even")));
  Ran wrong = train("wrong", "data.weights=[1]");
  EXPECT_EQ(wrong.code, 2);
  EXPECT_NE(wrong.err.find("data.weights must have a number for each file, 2; got 1"), std::string::npos) << wrong.err;
}

TEST(Train, WritesTheRunDirectory) {
  Task task;
  Ran ran = task.train("a");
  ASSERT_EQ(ran.code, 0) << ran.err;
  std::string run = task.output("a");
  for (const char* name :
       {"config.yaml", "metrics.jsonl", "samples.jsonl", "curves.svg", "checkpoints/latest/model.safetensors",
        "final/model.safetensors", "final/config.json", "final/tokenizer.json", "stages/sft/model.safetensors"})
    EXPECT_TRUE(fs::exists(run + "/" + name)) << name;
  EXPECT_EQ(fs::read_symlink(run + "/checkpoints/latest"), "step-20");
  EXPECT_EQ(testing::rft("check " + run + "/config.yaml").code, 0) << "the resolved config is itself a recipe";
  std::istringstream lines(read_file(run + "/metrics.jsonl"));
  std::string line;
  for (int step = 1; step <= 20; ++step) {
    ASSERT_TRUE(std::getline(lines, line));
    auto json = nlohmann::json::parse(line);
    EXPECT_EQ(json["step"], step);
    EXPECT_TRUE(json.contains("loss") && json.contains("grad_norm") && json.contains("learning_rate"));
    if (json.contains("logp_mismatch")) {
      EXPECT_LT(json["logp_mismatch"].get<double>(), 1e-5);
    }
  }
  auto last = nlohmann::json::parse(line);
  for (const char* name : {"kl", "entropy", "eval/reward", "eval/rewards/math_answer/mean", "num_tokens"})
    EXPECT_TRUE(last.contains(name)) << name;
}

TEST(Train, TheSameSeedGivesTheSameRunBitForBit) {
  Task task;
  ASSERT_EQ(task.train("a").code, 0);
  ASSERT_EQ(task.train("b").code, 0);
  EXPECT_EQ(steady_metrics(task.output("a")), steady_metrics(task.output("b")));
  EXPECT_EQ(weights(task.output("a")), weights(task.output("b")));
  ASSERT_EQ(task.train("c", "run.seed=6").code, 0);
  EXPECT_NE(weights(task.output("a")), weights(task.output("c")));
}

/// Starts a run and kills it after `delay`; true where it had ended by itself.
bool run_and_kill(const Task& task, const std::string& run, std::chrono::milliseconds delay, int signal, bool resume) {
  std::string recipe = task.recipe(), output = "run.output=" + task.output(run);
  pid_t child = fork();
  if (child == 0) {
    if (!freopen("/dev/null", "w", stderr) || !freopen("/dev/null", "w", stdout)) _exit(3);
    execl(RFT_PROGRAM, RFT_PROGRAM, "train", recipe.c_str(), output.c_str(), "--quiet", resume ? "--resume" : nullptr,
          nullptr);
    _exit(3);
  }
  std::this_thread::sleep_for(delay);
  kill(child, signal);
  int status = 0;
  waitpid(child, &status, 0);
  return WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

TEST(Train, ARunKilledAtAnyMomentAndResumedEndsTheSame) {
  Task task;
  auto begin = std::chrono::steady_clock::now();
  ASSERT_EQ(task.train("whole").code, 0);
  auto whole = std::chrono::duration_cast<std::chrono::milliseconds>(std::chrono::steady_clock::now() - begin);
  std::mt19937 random(11);
  int kills = 0;
  for (int round = 0; kills < 50; ++round) {
    ASSERT_LT(round, 100) << "only " << kills << " runs were still going when they were killed";
    std::string run = "killed" + std::to_string(round);
    bool ended = false;
    for (bool resume = false; !ended && kills < 50; resume = true) {
      auto delay =
          std::chrono::milliseconds(static_cast<int64_t>(whole.count() * (0.1 + 0.8 * (random() % 1000) / 1000.0)));
      ended = run_and_kill(task, run, delay, SIGKILL, resume);
      kills += !ended;
    }
    Ran last = task.train(run, "--resume");
    ASSERT_EQ(last.code, 0) << last.err;
    EXPECT_EQ(weights(task.output("whole")), weights(task.output(run)));
    EXPECT_EQ(steady_metrics(task.output("whole")), steady_metrics(task.output(run)));
    EXPECT_EQ(read_file(task.output("whole") + "/samples.jsonl"), read_file(task.output(run) + "/samples.jsonl"));
  }
}

TEST(Train, ASignalSavesAndAResumedRunGoesOn) {
  Task task;
  ASSERT_EQ(task.train("whole").code, 0);
  for (int signal : {SIGINT, SIGTERM}) {
    std::string run = "signal" + std::to_string(signal), recipe = task.recipe(),
                output = "run.output=" + task.output(run);
    pid_t child = fork();
    if (child == 0) {
      if (!freopen("/dev/null", "w", stderr)) _exit(3);
      execl(RFT_PROGRAM, RFT_PROGRAM, "train", recipe.c_str(), output.c_str(), "--quiet", nullptr);
      _exit(3);
    }
    while (!fs::exists(task.output(run) + "/metrics.jsonl")) std::this_thread::sleep_for(std::chrono::milliseconds(5));
    kill(child, signal);
    int status = 0;
    waitpid(child, &status, 0);
    ASSERT_TRUE(WIFEXITED(status));
    EXPECT_EQ(WEXITSTATUS(status), 130);
    EXPECT_TRUE(fs::exists(task.output(run) + "/checkpoints/latest/model.safetensors"));
    ASSERT_EQ(task.train(run, "--resume").code, 0);
    EXPECT_EQ(weights(task.output("whole")), weights(task.output(run)));
  }
}

TEST(Train, AnEarlierRunIsMovedAsideNotOverwritten) {
  Task task;
  ASSERT_EQ(task.train("a").code, 0);
  std::string first = read_file(task.output("a") + "/metrics.jsonl");
  ASSERT_EQ(task.train("a").code, 0);
  EXPECT_EQ(read_file(task.output("a.old-1") + "/metrics.jsonl"), first);
}

TEST(Train, ADryRunWritesNothing) {
  Task task;
  Ran ran = task.train("dry", "--dry-run");
  EXPECT_EQ(ran.code, 0) << ran.err;
  EXPECT_NE(ran.out.find("s a step, peak memory"), std::string::npos);
  EXPECT_FALSE(fs::exists(task.output("dry")));
}

TEST(Train, ResumingOnOtherDataIsRefused) {
  Task task;
  ASSERT_EQ(task.train("a").code, 0);
  write_file(task.data("train.jsonl"),
             read_file(task.data("train.jsonl")) + "{\"prompt\": \"1+1=\", \"answer\": \"2\"}\n");
  Ran ran = task.train("a", "--resume stages.1.train.steps=14");
  EXPECT_EQ(ran.code, 2);
  EXPECT_NE(ran.err.find("not the rows that the checkpoint"), std::string::npos) << ran.err;
}

struct Mistake {
  const char *arguments, *message;
};

TEST(Train, NamesTheUsersMistakeBeforeAnyWork) {
  Task task;
  const Mistake mistakes[] = {
      {"stages.1.train.stesp=5", "did you mean 'steps'?"},
      {"stages.1.objective.type=gropo", "did you mean 'grpo'?"},
      {"stages.1.objective.clip_low=-1", "must be >= 0; got -1"},
      {"policy.path=/no/such/model", "there is no model directory '/no/such/model'"},
      {"stages.1.data.prompts=/no/such.jsonl", "there is no file '/no/such.jsonl'"},
      {"stages.1.rollout.batch_size=30", "must be a multiple of group_size 4"},
      {"reward.1.typ=x", "did you mean 'type'?"},
      {"reward.0.column=solution", "solution"},
  };
  for (const auto& mistake : mistakes) {
    Ran ran = task.train("bad", mistake.arguments);
    EXPECT_EQ(ran.code, 2) << mistake.arguments;
    EXPECT_NE(ran.err.find(mistake.message), std::string::npos) << mistake.arguments << ": " << ran.err;
  }
  EXPECT_FALSE(fs::exists(task.output("bad") + "/final"));
}

TEST(Train, NamesTheLineOfABadRow) {
  Task task;
  write_file(task.data("sft.jsonl"),
             "{\"prompt\": \"1+1=\", \"completion\": \"2\"}\n{\"prompt\": \"1+1=\", \"completion\": 2\n");
  Ran ran = task.train("bad");
  EXPECT_EQ(ran.code, 2);
  EXPECT_NE(ran.err.find("sft.jsonl:2"), std::string::npos) << ran.err;
  write_file(task.data("sft.jsonl"), "{\"prompt\": \"1+1=\", \"completion\": \"2\"}\n\n{\"prompt\": \"1+1=\"}\n");
  ran = task.train("bad");
  EXPECT_EQ(ran.code, 2);
  EXPECT_NE(ran.err.find("sft.jsonl:3"), std::string::npos) << ran.err;
  write_file(task.data("sft.jsonl"), "");
  EXPECT_EQ(task.train("bad").code, 2);
}

TEST(Train, AFullDiskLeavesTheLastWholeCheckpoint) {
  Task task;
  ASSERT_EQ(task.train("a").code, 0);
  // Files may not grow beyond 60 KB: the weights can't be written.
  auto ran = testing::run("trap '' XFSZ; ulimit -f 60; " + std::string(RFT_PROGRAM) + " train " + task.recipe() +
                          " run.output=" + task.output("a") + " stages.1.train.steps=20 --resume --quiet");
  EXPECT_EQ(ran.code, 1);
  EXPECT_NE(ran.err.find("model.safetensors] the file can't be written"), std::string::npos) << ran.err;
  EXPECT_EQ(fs::read_symlink(task.output("a") + "/checkpoints/latest"), "step-20");
  ran = task.train("a", "--resume stages.1.train.steps=20");
  EXPECT_EQ(ran.code, 0) << ran.err;
  EXPECT_EQ(fs::read_symlink(task.output("a") + "/checkpoints/latest"), "step-28");
}

TEST(Train, ARewardThatKeepsFailingStopsTheRun) {
  Task task;
  // Backtracks beyond the match limit, which it sets low, on every completion.
  Ran ran = task.train("a", "'stages.1.reward={type: regex, pattern: \"(*LIMIT_MATCH=2)^(?:(?:[0-9+=,;]+)+)+[!?]$\"}'");
  EXPECT_EQ(ran.code, 1);
  EXPECT_NE(ran.err.find("of the rewards could not be computed"), std::string::npos) << ran.err;
}

TEST(Train, ALossThatIsNotFiniteStopsTheRunAndSavesTheBatch) {
  Task task;
  Ran ran = task.train("a",
                       "stages.0.train.optimizer.lr=1e30 stages.0.train.max_grad_norm=0 "
                       "stages.0.train.schedule.type=constant stages.0.train.steps=20");
  EXPECT_EQ(ran.code, 1);
  EXPECT_NE(ran.err.find("not finite"), std::string::npos) << ran.err;
  bool saved = false;
  for (const auto& entry : fs::directory_iterator(task.output("a")))
    saved |= entry.path().filename().string().rfind("nonfinite-step-", 0) == 0;
  EXPECT_TRUE(saved);
}

TEST(Train, AnUnwritableOutputIsNamed) {
  Task task;
  write_file(task.output("file"), "in the way");
  Ran ran = testing::rft("train " + task.recipe() + " run.output=" + task.output("file") + "/run --quiet");
  EXPECT_NE(ran.code, 0);
  EXPECT_NE(ran.err.find(task.output("file")), std::string::npos) << ran.err;
  EXPECT_EQ(read_file(task.output("file")), "in the way");
}

}  // namespace
}  // namespace rft::train_test
