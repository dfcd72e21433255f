/// Whole runs on several processes: the same result as one, whatever happens to them.
#include <ATen/ATen.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <cmath>
#include <csignal>
#include <nlohmann/json.hpp>
#include <thread>

#include "rft/io/safetensors.h"
#include "tiny_task.h"

namespace rft {
namespace {
namespace fs = std::filesystem;
using testing::read_file;
using testing::TempDir;
using testing::write_file;
using Clock = std::chrono::steady_clock;

int free_port() {
  int socket = ::socket(AF_INET, SOCK_STREAM, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof address;
  bind(socket, reinterpret_cast<sockaddr*>(&address), size);
  getsockname(socket, reinterpret_cast<sockaddr*>(&address), &size);
  close(socket);
  return ntohs(address.sin_port);
}

/// Processes of one run, as a launcher starts them; `started` fewer than they are told they are.
class Processes {
 public:
  Processes(int64_t size, const std::function<std::string(int64_t)>& arguments, int64_t started = -1) {
    std::string place = " WORLD_SIZE=" + std::to_string(size) +
                        " MASTER_ADDR=127.0.0.1 MASTER_PORT=" + std::to_string(free_port()) +
                        " OMP_NUM_THREADS=1 RFT_SILENCE_SECONDS=4 RFT_JOIN_SECONDS=" + (started < 0 ? "60 " : "3 ");
    for (int64_t rank = 0; rank < (started < 0 ? size : started); ++rank) {
      std::string command = "exec env RANK=" + std::to_string(rank) + place + RFT_PROGRAM + " " + arguments(rank) +
                            " >/dev/null 2>" + err_file(rank);
      pid_t pid = fork();
      if (pid == 0) {
        execl("/bin/sh", "sh", "-c", command.c_str(), nullptr);
        _exit(127);
      }
      pids_.push_back(pid), ended_.push_back(-1);
    }
  }
  ~Processes() {
    for (size_t i = 0; i < pids_.size(); ++i)
      if (ended_[i] < 0) kill(pids_[i], SIGKILL), waitpid(pids_[i], nullptr, 0);
  }

  void signal(int64_t rank, int number) { kill(pids_[static_cast<size_t>(rank)], number); }
  /// Exit codes (128 + signal), once all but `except` have ended; a failure of the test after `limit` seconds.
  std::vector<int> wait(int64_t limit = 120, int64_t except = -1) {
    auto until = Clock::now() + std::chrono::seconds(limit);
    for (size_t i = 0; i < pids_.size(); ++i) {
      if (static_cast<int64_t>(i) == except) continue;
      int status = 0;
      while (ended_[i] < 0 && waitpid(pids_[i], &status, WNOHANG) == 0) {
        if (Clock::now() > until) {
          ADD_FAILURE() << "rank " << i << " still runs after " << limit << " s";
          return ended_;
        }
        std::this_thread::sleep_for(std::chrono::milliseconds(10));
      }
      if (ended_[i] < 0) ended_[i] = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
    }
    return ended_;
  }
  std::string err(int64_t rank) const { return read_file(err_file(rank)); }

 private:
  std::string err_file(int64_t rank) const { return dir_ / ("err" + std::to_string(rank)); }

  TempDir dir_;
  std::vector<pid_t> pids_;
  std::vector<int> ended_;
};

/// A tiny language model, and recipes on it.
class Task : public testing::TinyTask {
 public:
  std::string operator/(const std::string& name) const { return output(name); }
  std::string recipe(const std::string& name, const std::string& blocks) const {
    return TinyTask::recipe(name, "", blocks);
  }
  std::string sft_and_grpo() const {
    return two_stages("two.yaml", "", "steps: 8, batch_size: 18, checkpoint_every: 4, optimizer: {lr: 1.0e-3}",
                      "batch_size: 36",
                      "steps: 8, batch_size: 18, micro_batch_size: 5, iterations: 2, eval_every: 4, "
                      "checkpoint_every: 2, optimizer: {lr: 1.0e-3}");
  }
};

void run(int64_t size, const std::string& recipe, const std::string& output, const std::string& more = "") {
  std::string arguments = "train " + recipe + " run.output=" + output + " " + more + " --quiet";
  if (size == 1) {
    auto ran = testing::run("OMP_NUM_THREADS=1 " + std::string(RFT_PROGRAM) + " " + arguments);
    ASSERT_EQ(ran.code, 0) << ran.err;
    return;
  }
  Processes processes(size, [&](int64_t) { return arguments; });
  auto codes = processes.wait();
  for (int64_t rank = 0; rank < size; ++rank)
    ASSERT_EQ(codes[static_cast<size_t>(rank)], 0) << "rank " << rank << ": " << processes.err(rank);
}

std::vector<nlohmann::json> metrics(const std::string& output) {
  std::vector<nlohmann::json> out;
  std::istringstream lines(read_file(output + "/metrics.jsonl"));
  for (std::string line; std::getline(lines, line);) out.push_back(nlohmann::json::parse(line));
  return out;
}

std::string weights_file(const std::string& output) {
  for (const auto& entry : fs::directory_iterator(output + "/final"))
    if (entry.path().extension() == ".safetensors") return entry.path().string();
  return "";
}

bool tells_the_time(const std::string& name) {
  return name.rfind("time/", 0) == 0 || name.rfind("memory/", 0) == 0 || name == "step_time" ||
         name == "tokens_per_second" || name == "logp_mismatch";
}

/// Every metric of every step within `tolerance` of its size, and the weights.
void expect_alike(const std::string& a, const std::string& b, double tolerance) {
  auto ours = metrics(a), theirs = metrics(b);
  ASSERT_EQ(ours.size(), theirs.size());
  for (size_t i = 0; i < ours.size(); ++i)
    for (const auto& [name, value] : ours[i].items()) {
      if (!value.is_number() || tells_the_time(name)) continue;
      ASSERT_TRUE(theirs[i].contains(name)) << name << " of row " << i;
      double x = value, y = theirs[i][name];
      EXPECT_NEAR(x, y, tolerance * std::max(1.0, std::abs(x))) << name << " of row " << i;
    }
  auto left = load_safetensors(weights_file(a)).tensors, right = load_safetensors(weights_file(b)).tensors;
  ASSERT_EQ(left.size(), right.size());
  for (const auto& [name, value] : left)
    EXPECT_LT(value.sub(right.at(name)).abs().max().item<double>(), tolerance) << name;
}

TEST(Processes, TwoAndThreeTrainALanguageModelAsOneDoes) {
  Task task;
  std::string recipe = task.sft_and_grpo();
  for (int64_t size : {1, 2, 3}) run(size, recipe, task / std::to_string(size));
  expect_alike(task / "1", task / "2", 1e-4);
  expect_alike(task / "1", task / "3", 1e-4);
  auto first = [&](const std::string& output) { return metrics(task / output)[0]["grad_norm"].get<double>(); };
  EXPECT_NEAR(first("1"), first("3"), 1e-6);
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

/// Until metrics.jsonl has `rows` lines.
void wait_for_rows(const std::string& output, size_t rows) {
  for (int i = 0; i < 6000; ++i) {
    std::ifstream in(output + "/metrics.jsonl");
    size_t count = 0;
    for (std::string line; std::getline(in, line);) ++count;
    if (count >= rows) return;
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  }
  ADD_FAILURE() << "the run got nowhere";
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
  Processes processes(
      3, [&](int64_t) { return arguments + task / "y"; }, /*started=*/2);
  EXPECT_EQ(processes.wait(60), (std::vector<int>{1, 1}));
  EXPECT_NE(processes.err(0).find("of 3 processes (WORLD_SIZE) these did not come within 3 s: rank 2"),
            std::string::npos)
      << processes.err(0);
  EXPECT_FALSE(fs::exists(task / "x"));
}

}  // namespace
}  // namespace rft
