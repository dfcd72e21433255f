#pragma once
/// Whole runs on several processes, as a launcher starts them, and what came of them.
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

namespace rft::testing {
namespace fs = std::filesystem;
using Clock = std::chrono::steady_clock;

/// A port of this host that is taken while this lives: connections to it are accepted, and never answered.
class Listener {
 public:
  Listener() : socket_(::socket(AF_INET, SOCK_STREAM, 0)) {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_ANY);
    socklen_t size = sizeof address;
    bind(socket_, reinterpret_cast<sockaddr*>(&address), size);
    getsockname(socket_, reinterpret_cast<sockaddr*>(&address), &size);
    listen(socket_, 8);
    port_ = ntohs(address.sin_port);
  }
  ~Listener() { close(socket_); }
  int port() const { return port_; }

 private:
  int socket_, port_ = 0;
};

inline int free_port() { return Listener().port(); }

/// Processes of one run of `program`; `started` fewer than they are told they are.
class Processes {
 public:
  Processes(int64_t size, const std::function<std::string(int64_t)>& arguments, int64_t started = -1,
            const std::string& program = RFT_PROGRAM) {
    std::string place = " WORLD_SIZE=" + std::to_string(size) +
                        " MASTER_ADDR=127.0.0.1 MASTER_PORT=" + std::to_string(free_port()) +
                        " OMP_NUM_THREADS=1 RFT_SILENCE_SECONDS=4 RFT_JOIN_SECONDS=" + (started < 0 ? "60 " : "3 ");
    for (int64_t rank = 0; rank < (started < 0 ? size : started); ++rank) {
      std::string command = "exec env RANK=" + std::to_string(rank) + place + program + " " + arguments(rank) +
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
class Task : public TinyTask {
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

inline void run(int64_t size, const std::string& recipe, const std::string& output, const std::string& more = "") {
  std::string arguments = "train " + recipe + " run.output=" + output + " " + more + " --quiet";
  if (size == 1) {
    auto ran = run("OMP_NUM_THREADS=1 " + std::string(RFT_PROGRAM) + " " + arguments);
    ASSERT_EQ(ran.code, 0) << ran.err;
    return;
  }
  Processes processes(size, [&](int64_t) { return arguments; });
  auto codes = processes.wait();
  for (int64_t rank = 0; rank < size; ++rank)
    ASSERT_EQ(codes[static_cast<size_t>(rank)], 0) << "rank " << rank << ": " << processes.err(rank);
}

inline std::vector<nlohmann::json> metrics(const std::string& output) {
  std::vector<nlohmann::json> out;
  std::istringstream lines(read_file(output + "/metrics.jsonl"));
  for (std::string line; std::getline(lines, line);) out.push_back(nlohmann::json::parse(line));
  return out;
}

/// Of the first step.
inline double first_norm(const std::string& output) { return metrics(output)[0]["grad_norm"].get<double>(); }

inline std::string weights_file(const std::string& output) {
  for (const auto& entry : fs::directory_iterator(output + "/final"))
    if (entry.path().extension() == ".safetensors") return entry.path().string();
  return "";
}

/// What is not the same on other numbers of processes: times, memory, and how rows lie in micro-batches.
inline bool tells_the_layout(const std::string& name) {
  return name.rfind("time/", 0) == 0 || name.rfind("memory/", 0) == 0 || name.rfind("packing/", 0) == 0 ||
         name == "step_time" || name == "tokens_per_second" || name == "network/bytes_sent" || name == "logp_mismatch";
}

/// Every metric of every step within `tolerance` of its size, and the weights.
inline void expect_alike(const std::string& a, const std::string& b, double tolerance) {
  auto ours = metrics(a), theirs = metrics(b);
  ASSERT_EQ(ours.size(), theirs.size());
  for (size_t i = 0; i < ours.size(); ++i)
    for (const auto& [name, value] : ours[i].items()) {
      if (!value.is_number() || tells_the_layout(name)) continue;
      ASSERT_TRUE(theirs[i].contains(name)) << name << " of row " << i;
      double x = value, y = theirs[i][name];
      EXPECT_NEAR(x, y, tolerance * std::max(1.0, std::abs(x))) << name << " of row " << i;
    }
  auto left = load_safetensors(weights_file(a)).tensors, right = load_safetensors(weights_file(b)).tensors;
  ASSERT_EQ(left.size(), right.size());
  for (const auto& [name, value] : left)
    EXPECT_LE(value.sub(right.at(name)).abs().max().item<double>(), tolerance) << name;
}

/// Until metrics.jsonl has `rows` lines.
inline void wait_for_rows(const std::string& output, size_t rows) {
  for (int i = 0; i < 6000; ++i) {
    std::ifstream in(output + "/metrics.jsonl");
    size_t count = 0;
    for (std::string line; std::getline(in, line);) ++count;
    if (count >= rows) return;
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  }
  ADD_FAILURE() << "the run got nowhere";
}

}  // namespace rft::testing
