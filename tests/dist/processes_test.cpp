/// Whole runs on several processes: the same result as one, whatever happens to them.
#include "processes.h"

namespace rft::processes_test {
namespace {
namespace fs = std::filesystem;
using namespace testing;

TEST(Processes, TwoAndThreeTrainALanguageModelAsOneDoes) {
  Task task;
  std::string recipe = task.sft_and_grpo();
  for (int64_t size : {1, 2, 3}) run(size, recipe, task / std::to_string(size));
  expect_alike(task / "1", task / "2", 1e-4);
  expect_alike(task / "1", task / "3", 1e-4);
  EXPECT_NEAR(first_norm(task / "1"), first_norm(task / "3"), 1e-6);
}

TEST(Processes, TwoTrainOnPreferencesAsOneDoes) {
  Task task;
  std::string pairs = task.recipe("dpo.yaml", "data: {train: " + task / "data/pairs.jsonl" + R"(}
objective: {type: dpo}
train: {steps: 6, batch_size: 7, checkpoint_every: 0, optimizer: {lr: 1.0e-3}}
)");
  std::string verdicts = task.recipe("kto.yaml", "data: {train: " + task / "data/verdicts.jsonl" + R"(}
objective: {type: kto}
train: {steps: 4, batch_size: 9, checkpoint_every: 0, optimizer: {lr: 1.0e-3}}
)");
  for (int64_t size : {1, 2}) {
    run(size, pairs, task / ("dpo" + std::to_string(size)));
    run(size, verdicts, task / ("kto" + std::to_string(size)));
  }
  expect_alike(task / "dpo1", task / "dpo2", 1e-4);
  expect_alike(task / "kto1", task / "kto2", 1e-4);
}

TEST(Processes, TwoTrainAnActorAsOneDoes) {
  TempDir dir;
  write_file(dir / "r.yaml", "run: {name: tiny, seed: 5, output: " + dir / "run" + R"(}
environment: {type: cart_pole}
policy: {type: categorical, hidden: [16]}
rollout: {environments: 4, steps: 32}
credit: {type: gae, gamma: 0.99, lambda: 0.95, kl_weight: 0}
objective: {type: ppo, clip_low: 0.2, value_weight: 0.5}
train: {timesteps: 512, batch_size: 48, iterations: 2, checkpoint_every: 0, samples_every: 0, optimizer: {lr: 1.0e-3}}
)");
  for (int64_t size : {1, 2}) run(size, dir / "r.yaml", dir / std::to_string(size));
  expect_alike(dir / "1", dir / "2", 1e-4);
}

TEST(Processes, ASignalToOneStopsAllAndTheRunGoesOnBitForBit) {
  Task task;
  std::string recipe = task.sft_and_grpo(), arguments = "train " + recipe + " --quiet run.output=";
  run(2, recipe, task / "whole");
  {
    Processes processes(2, [&](int64_t) { return arguments + task / "cut"; });
    wait_for_rows(task / "cut", 3);
    processes.signal(1, SIGTERM);
    EXPECT_EQ(processes.wait(60), (std::vector<int>{130, 130})) << processes.err(0) << processes.err(1);
  }
  run(2, recipe, task / "cut", "--resume");
  EXPECT_EQ(read_file(weights_file(task / "whole")), read_file(weights_file(task / "cut")));
}

TEST(Processes, OneThatDiesEndsTheOthersAndAnyNumberGoesOn) {
  Task task;
  std::string recipe = task.sft_and_grpo(), arguments = "train " + recipe + " --quiet run.output=";
  run(2, recipe, task / "whole");
  auto disturbed = [&](const std::string& output, int64_t victim, int number) {
    Processes processes(2, [&](int64_t) { return arguments + task / output; });
    wait_for_rows(task / output, 5);
    processes.signal(victim, number);
    int64_t other = 1 - victim;
    EXPECT_EQ(processes.wait(30, victim)[static_cast<size_t>(other)], 1) << processes.err(other);
    return processes.err(other);
  };
  disturbed("killed", 1, SIGKILL);
  run(2, recipe, task / "killed", "--resume");
  EXPECT_EQ(read_file(weights_file(task / "whole")), read_file(weights_file(task / "killed")));

  disturbed("first", 0, SIGKILL);
  run(3, recipe, task / "first", "--resume");  // on another number of processes
  expect_alike(task / "whole", task / "first", 1e-4);

  std::string said = disturbed("stopped", 1, SIGSTOP);
  EXPECT_NE(said.find("rank 1 has not been heard of for 4 s (killed, stopped or cut off); it was last at "),
            std::string::npos)
      << said;

  said = disturbed("held", 0, SIGSTOP);  // the one that keeps the store, which then does not answer
  EXPECT_NE(said.find("rank 0 has not "), std::string::npos) << said;
}

TEST(Processes, TwoSampleAheadAsOneDoesAndGoOnBitForBit) {
  Task task;
  std::string recipe = task.recipe("ahead.yaml", "data: {prompts: " + task / "data/train.jsonl" + R"(}
rollout: {group_size: 4, max_new_tokens: 16, batch_size: 36, ahead: 2, recompute_logp: true}
reward:
  - {type: math_answer}
  - {type: length, form: linear, scale: 50, weight: 0.5}
objective: {type: grpo, sampler_correction: token_truncate}
train: {steps: 10, batch_size: 18, micro_batch_size: 5, checkpoint_every: 5, optimizer: {lr: 1.0e-3}}
)");
  for (int64_t size : {1, 2}) run(size, recipe, task / std::to_string(size));
  expect_alike(task / "1", task / "2", 1e-4);
  run(2, recipe, task / "cut");
  EXPECT_EQ(read_file(weights_file(task / "2")), read_file(weights_file(task / "cut")));
  fs::remove_all(task / "cut/final");
  fs::remove_all(task / "cut/checkpoints/step-10");
  run(2, recipe, task / "cut", "--resume");
  EXPECT_EQ(read_file(weights_file(task / "2")), read_file(weights_file(task / "cut")));
}

TEST(Processes, SrunStartsThem) {
  if (testing::run("command -v srun && srun --version && sinfo -h").code != 0)
    GTEST_SKIP() << "srun is not installed, or no Slurm answers (Debian: slurm-wlm)";
  Task task;
  std::string recipe = task.sft_and_grpo();
  run(2, recipe, task / "whole");
  auto ran = testing::run(cat("OMP_NUM_THREADS=1 MASTER_PORT=", free_port(), " srun --ntasks 2 --overcommit ",
                              RFT_PROGRAM, " train ", recipe, " --quiet run.output=", task / "slurm"));
  ASSERT_EQ(ran.code, 0) << ran.err;
  EXPECT_EQ(read_file(weights_file(task / "whole")), read_file(weights_file(task / "slurm")));
}

/// Two processes that have nothing but Slurm's variables, as srun sets them.
TEST(Processes, SlurmsVariablesAreEnough) {
  Task task;
  std::string recipe = task.sft_and_grpo();
  run(2, recipe, task / "whole");
  Processes processes(
      2, [&](int64_t rank) { return cat(rank, " train ", recipe, " --quiet run.output=", task / "slurm"); }, -1,
      cat("sh -c 'export SLURM_PROCID=$0 SLURM_NTASKS=2 SLURM_STEP_NODELIST=localhost; "
          "unset RANK WORLD_SIZE MASTER_ADDR; exec ",
          RFT_PROGRAM, " \"$@\"'"));
  EXPECT_EQ(processes.wait(), (std::vector<int>{0, 0})) << processes.err(0) << processes.err(1);
  EXPECT_EQ(read_file(weights_file(task / "whole")), read_file(weights_file(task / "slurm")));
}

TEST(Processes, MpirunStartsThem) {
  if (testing::run("command -v mpirun").code != 0) GTEST_SKIP() << "mpirun is not installed (Debian: openmpi-bin)";
  Task task;
  std::string recipe = task.sft_and_grpo();
  run(2, recipe, task / "whole");
  auto ran = testing::run(cat("OMP_NUM_THREADS=1 mpirun --allow-run-as-root --oversubscribe -n 2 -x OMP_NUM_THREADS",
                              " -x MASTER_ADDR=127.0.0.1 -x MASTER_PORT=", free_port(), " ", RFT_PROGRAM, " train ",
                              recipe, " --quiet run.output=", task / "mpi"));
  ASSERT_EQ(ran.code, 0) << ran.err;
  EXPECT_EQ(read_file(weights_file(task / "whole")), read_file(weights_file(task / "mpi")));
}

TEST(Processes, WhatDoesNotFitTogetherIsSaid) {
  Task task;
  std::string arguments = "train " + task.sft_and_grpo() + " --quiet run.output=";
  {
    Processes processes(2, [&](int64_t rank) { return arguments + task / "x run.seed=" + std::to_string(rank); });
    EXPECT_EQ(processes.wait(), (std::vector<int>{2, 2}));
    for (int64_t rank : {0, 1})
      EXPECT_NE(processes.err(rank).find("rank 1 has another recipe than rank 0"), std::string::npos)
          << processes.err(rank);
  }
  {
    // The same names, and other rows in them.
    std::string rows = read_file(task / "data/sft.jsonl");
    for (int64_t rank : {0, 1}) {
      fs::create_directories(task / cat("place", rank));
      write_file(task / cat("place", rank, "/rows.jsonl"), rank ? rows.substr(rows.find('\n') + 1) : rows);
    }
    Processes processes(
        2,
        [&](int64_t) {
          return "train " + task.sft_and_grpo() + " --quiet stages.0.data.train=rows.jsonl run.output=" + task / "x";
        },
        -1, cat("sh -c 'cd ", task / "place", "$RANK && exec ", RFT_PROGRAM, " \"$@\"' rft"));
    EXPECT_EQ(processes.wait(), (std::vector<int>{2, 2}));
    EXPECT_NE(processes.err(0).find("rank 1 has another data than rank 0"), std::string::npos) << processes.err(0);
  }
  {
    // Somebody else has the port, and says nothing.
    Listener other;
    Processes processes(
        2, [&](int64_t) { return arguments + task / "x"; }, -1,
        cat("env RFT_JOIN_SECONDS=3 MASTER_PORT=", other.port(), " ", RFT_PROGRAM));
    EXPECT_EQ(processes.wait(60), (std::vector<int>{1, 1}));
    EXPECT_NE(processes.err(0).find(cat(other.port())), std::string::npos) << processes.err(0);
    EXPECT_NE(processes.err(1).find(cat("127.0.0.1:", other.port())), std::string::npos) << processes.err(1);
  }
  Processes processes(
      3, [&](int64_t) { return arguments + task / "y"; }, /*started=*/2);
  EXPECT_EQ(processes.wait(60), (std::vector<int>{1, 1}));
  EXPECT_NE(processes.err(0).find("of 3 processes (WORLD_SIZE) these did not come within 3 s: rank 2"),
            std::string::npos)
      << processes.err(0);
  EXPECT_FALSE(fs::exists(task / "x"));
}

}  // namespace
}  // namespace rft::processes_test
