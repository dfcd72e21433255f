/// Layers and vocabulary divided among processes: the same runs, files that any layout reads, and what theory sends.
#include <ATen/ATen.h>

#include "processes.h"

namespace rft::tensor_parallel_test {
namespace {
using namespace testing;

/// Of both stages.
const std::string kDivided = "stages.0.train.tensor_parallel=2 stages.1.train.tensor_parallel=2";

TEST(TensorParallel, TwoAndFourTrainAsOneDoes) {
  Task task;
  std::string recipe = task.sft_and_grpo();
  run(1, recipe, task / "1");
  run(2, recipe, task / "2", kDivided);
  run(2, recipe, task / "again", kDivided);
  run(4, recipe, task / "4", kDivided + " stages.0.train.shard=optimizer stages.1.train.shard=gradients");
  for (const char* output : {"2", "4"}) {
    expect_alike(task / "1", task / output, 1e-4);
    EXPECT_NEAR(first_norm(task / output), first_norm(task / "1"), 1e-6 * first_norm(task / "1"));
  }
  EXPECT_EQ(read_file(weights_file(task / "2")), read_file(weights_file(task / "again")));
  EXPECT_EQ(read_file(task / "2/samples.jsonl"), read_file(task / "again/samples.jsonl"));
}

TEST(TensorParallel, TwoTrainOnPreferencesAndWithACritic) {
  Task task;
  std::string dpo = task.recipe("dpo.yaml", "data: {train: " + task / "data/pairs.jsonl" + R"(}
objective: {type: dpo}
train: {steps: 6, batch_size: 7, checkpoint_every: 0, optimizer: {lr: 1.0e-3}}
)");
  std::string ppo = task.recipe("ppo.yaml", "data: {prompts: " + task / "data/train.jsonl" + R"(}
rollout: {group_size: 2, max_new_tokens: 8}
reward: {type: length, form: linear, scale: 50}
objective: {type: ppo}
train: {steps: 4, batch_size: 8, checkpoint_every: 0, optimizer: {lr: 1.0e-3}}
)");
  std::string judge = task.recipe("judge.yaml", "data: {train: " + task / "data/pairs.jsonl" + R"(}
objective: {type: bradley_terry}
train: {steps: 4, batch_size: 8, checkpoint_every: 0, optimizer: {lr: 1.0e-3}}
)");
  for (const auto& [name, recipe] : std::map<std::string, std::string>{{"dpo", dpo}, {"ppo", ppo}, {"judge", judge}}) {
    std::string type = name == "judge" ? "policy.type=reward_model " : "";
    run(1, recipe, task / (name + "1"), type);
    run(2, recipe, task / (name + "2"), type + "train.tensor_parallel=2");
    expect_alike(task / (name + "1"), task / (name + "2"), 1e-4);
    EXPECT_NEAR(first_norm(task / (name + "2")), first_norm(task / (name + "1")),
                1e-6 * first_norm(task / (name + "1")));
  }
}

TEST(TensorParallel, AnyLayoutGoesOnFromItsCheckpoints) {
  Task task;
  std::string recipe = task.sft_and_grpo(), arguments = "train " + recipe + " --quiet run.output=";
  run(1, recipe, task / "whole");
  auto cut = [&](const std::string& output, const std::string& layout, int64_t size) {
    Processes processes(size, [&](int64_t) { return arguments + task / output + " " + layout; });
    wait_for_rows(task / output, 11);  // in the second stage, within a rollout
    processes.signal(size - 1, SIGTERM);
    EXPECT_EQ(processes.wait(60), std::vector<int>(static_cast<size_t>(size), 130)) << processes.err(0);
  };
  struct Way {
    std::string from;
    int64_t size;
    std::string to;
    int64_t next;
  };
  std::string both = kDivided + " stages.0.train.shard=optimizer stages.1.train.shard=optimizer";
  for (const Way& way : {Way{kDivided, 2, "", 1}, {both, 4, kDivided, 2}, {"", 2, both, 4}}) {
    std::string output = cat("cut", way.size, "then", way.next);
    cut(output, way.from, way.size);
    run(way.next, recipe, task / output, "--resume " + way.to);
    expect_alike(task / "whole", task / output, 1e-4);
  }
}

/// Bytes that rank 0 sends in a step of sft, the least of a run.
double bytes_of_a_step(const Task& task, const std::string& recipe, const std::string& layout) {
  run(2, recipe, task / "traffic", layout);
  double least = HUGE_VAL;
  for (const auto& row : metrics(task / "traffic")) least = std::min(least, row.at("network/bytes_sent").get<double>());
  return least;
}

TEST(TensorParallel, AStepSendsWhatTheoryCounts) {
  Task task;
  // One row of `tokens`, of which all but the first are predicted.
  constexpr int64_t kTokens = 200, kHidden = 32, kLayers = 1, kHeadDim = 8;
  std::string ids = "0";
  for (int64_t i = 1; i < kTokens; ++i) ids += cat(", ", i % 11);
  write_file(task / "rows.jsonl", "{\"input_ids\": [" + ids + "], \"prompt_length\": 1}\n");
  std::string recipe = task.recipe("sft.yaml", "data: {train: " + task / "rows.jsonl" + R"(}
objective: {type: sft}
train: {steps: 6, batch_size: 1, checkpoint_every: 0, optimizer: {lr: 1.0e-3}}
)");
  double sent = bytes_of_a_step(task, recipe, "train.tensor_parallel=2");
  // The stream is summed once behind the embedding, behind attention and MLP, and on the way back before both and
  // before the head (Megatron-LM, section 3); the norms of heads have gradients of their own; of each predicted token
  // three numbers in float64. Of what is summed each of P = 2 processes sends 2 (P - 1) / P.
  double stream = 4.0 * kTokens * kHidden, states = 4.0 * (kTokens - 1) * kHidden;
  double theory = stream * (1 + 4 * kLayers) + states + 2 * kLayers * 4 * kHeadDim + (kTokens - 1) * 3 * 8;
  EXPECT_GE(sent, theory);
  EXPECT_LE(sent, theory * 1.05 + 16384);  // metrics and messages
}

TEST(TensorParallel, WhatCantBeDividedIsSaid) {
  Task task;
  std::string arguments = "train " + task.sft_and_grpo() + " --quiet run.output=" + task / "x ";
  struct Case {
    int64_t size;
    std::string layout, said;
  };
  for (const Case& one :
       {Case{2, "stages.0.train.tensor_parallel=3",
             "[train.tensor_parallel] the number of processes (WORLD_SIZE) must be a multiple of it; got 3 and 2"},
        {2, kDivided + " 'policy.lora={rank: 4}'", "[train.tensor_parallel] a model with adapters"}}) {
    Processes processes(one.size, [&](int64_t) { return arguments + one.layout; });
    EXPECT_EQ(processes.wait(), (std::vector<int>{2, 2}));
    EXPECT_NE(processes.err(0).find(one.said), std::string::npos) << processes.err(0);
  }
}

}  // namespace
}  // namespace rft::tensor_parallel_test
