/// What each process keeps its part of: the same run, bit for bit, and no more on the wire than theory says.
#include <ATen/core/grad_mode.h>

#include "processes.h"
#include "rft/dist/communicator.h"

namespace rft::sharding_test {
namespace {
using namespace testing;

/// Overrides of every stage's block.
std::string of_stages(const std::string& shard) {
  return "stages.0.train.shard=" + shard + " stages.1.train.shard=" + shard;
}

TEST(Sharding, GivesTheSameBitsOnTwoAndThreeProcesses) {
  Task task;
  std::string recipe = task.sft_and_grpo();
  for (int64_t size : {2, 3}) {
    std::string whole = task / cat("whole", size), sharded = task / cat("sharded", size);
    run(size, recipe, whole);
    run(size, recipe, sharded, of_stages("optimizer"));
    expect_alike(whole, sharded, 0);
    EXPECT_EQ(read_file(weights_file(whole)), read_file(weights_file(sharded))) << size;
    if (size == 3) continue;
    // The second stage has several micro-batches for each process, whose sums are then added in another order.
    run(size, recipe, task / cat("gradients", size), of_stages("gradients"));
    expect_alike(whole, task / cat("gradients", size), 1e-4);
    run(size, recipe, task / cat("parameters", size), of_stages("parameters"));
    expect_alike(task / cat("gradients", size), task / cat("parameters", size), 0);
  }
  run(2, recipe, task / "again", of_stages("optimizer"));
  EXPECT_EQ(read_file(weights_file(task / "again")), read_file(weights_file(task / "sharded2")));
}

/// The optimizer's moments of a checkpoint, in the weights' order, from however many files.
std::map<std::string, Tensor> optimizer_state(const std::string& checkpoint) {
  std::vector<std::map<std::string, Tensor>> files;
  for (const auto& entry : fs::directory_iterator(checkpoint + "/trainer"))
    if (entry.path().filename().string().rfind("optimizer", 0) == 0)
      files.push_back(load_safetensors(entry.path().string()).tensors);
  int64_t weights = 0;
  for (const auto& file : files) weights += file.at("mean").numel();
  std::map<std::string, Tensor> out{{"files", at::tensor(static_cast<int64_t>(files.size()))}};
  for (const char* name : {"mean", "square"}) {
    Tensor all = out[name] = at::full({weights}, NAN);
    for (const auto& file : files) {
      Tensor ranges = file.at("range").view({-1, 2});
      for (int64_t k = 0, at = 0; k < ranges.size(0); ++k) {
        int64_t first = ranges[k][0].item<int64_t>(), count = ranges[k][1].item<int64_t>() - first;
        all.narrow(0, first, count).copy_(file.at(name).narrow(0, at, count)), at += count;
      }
    }
  }
  return out;
}

TEST(Sharding, AnyNumberOfProcessesGoesOnFromItsCheckpoints) {
  Task task;
  std::string recipe = task.sft_and_grpo(), arguments = "train " + recipe + " --quiet run.output=";
  run(2, recipe, task / "whole", of_stages("optimizer"));
  {
    Processes processes(2, [&](int64_t) { return arguments + task / "cut " + of_stages("optimizer"); });
    wait_for_rows(task / "cut", 3);
    processes.signal(1, SIGTERM);
    EXPECT_EQ(processes.wait(60), (std::vector<int>{130, 130})) << processes.err(0) << processes.err(1);
  }
  struct Next {
    int64_t size;
    const char* shard;
  };
  for (Next next : {Next{2, "optimizer"}, {2, "none"}, {1, "none"}, {3, "gradients"}, {2, "parameters"}}) {
    std::string output = task / cat("then", next.size, next.shard);
    fs::copy(task / "cut", output, fs::copy_options::recursive | fs::copy_options::copy_symlinks);
    run(next.size, recipe, output, "--resume " + of_stages(next.shard));
    expect_alike(task / "whole", output, 1e-4);
    auto state = optimizer_state(output + "/checkpoints/latest"),
         whole = optimizer_state(task / "whole/checkpoints/latest");
    EXPECT_EQ(state.at("files").item<int64_t>(), std::string(next.shard) == "none" ? 1 : next.size);
    if (next.size != 2 || std::string(next.shard) == "parameters") continue;  // which adds in another order
    EXPECT_EQ(read_file(weights_file(task / "whole")), read_file(weights_file(output)));
    EXPECT_TRUE(state.at("mean").equal(whole.at("mean")) && state.at("square").equal(whole.at("square")));
  }
}

TEST(Sharding, OneThatIsKilledLeavesACheckpointThatIsWhole) {
  Task task;
  std::string recipe = task.sft_and_grpo();
  run(2, recipe, task / "whole");
  {
    Processes processes(2, [&](int64_t) {
      return "train " + recipe + " --quiet run.output=" + task / "cut " + of_stages("optimizer") +
             " stages.0.train.save_async=true stages.1.train.save_async=true";
    });
    wait_for_rows(task / "cut", 5);
    processes.signal(1, SIGKILL);
    EXPECT_EQ(processes.wait(30, 1)[0], 1) << processes.err(0);
  }
  run(2, recipe, task / "cut", "--resume " + of_stages("optimizer"));
  EXPECT_EQ(read_file(weights_file(task / "whole")), read_file(weights_file(task / "cut")));
}

/// Bytes that a process sends of `tensor` bytes that are summed everywhere, in parts, or shared: (P - 1) / P of them
/// once or twice (Rajbhandari et al. 2020, section 7).
void expect_sent(int64_t sent, double theory, const std::string& what) {
  EXPECT_GE(static_cast<double>(sent), theory) << what;
  EXPECT_LE(static_cast<double>(sent), theory * 1.001 + 8192) << what;  // frames, and a heartbeat
}

/// One of several processes, which the test below starts.
TEST(Collectives, DISABLED_AsOneOfSeveral) {
  auto processes = join_processes(Launch::from_environment());
  int64_t rank = processes->rank(), size = processes->size(), length = 100000, n = length * size;
  auto numbers = [&](int64_t of) { return at::arange(n, at::kFloat).add(static_cast<double>(of)); };
  Tensor expected = at::zeros({n});
  for (int64_t r = 0; r < size; ++r) expected.add_(numbers(r));
  for (auto type : {at::kFloat, at::kDouble, at::kBFloat16}) {
    Tensor x = numbers(rank).to(type), sum = type == at::kBFloat16 ? Tensor() : expected.to(type);
    double bytes = static_cast<double>(x.nbytes()) * static_cast<double>(size - 1) / static_cast<double>(size);
    int64_t before = processes->bytes_sent();
    processes->sum_parts(x);
    expect_sent(processes->bytes_sent() - before, bytes, "sum_parts");
    if (sum.defined()) {
      auto part = [&](const Tensor& of, int64_t r) { return of.narrow(0, r * length, length); };
      EXPECT_TRUE(part(x, rank).equal(part(sum, rank)));
      EXPECT_TRUE(part(x, (rank + 1) % size).equal(part(numbers(rank).to(type), (rank + 1) % size)));
    }
    before = processes->bytes_sent();
    processes->share_parts(x);
    expect_sent(processes->bytes_sent() - before, bytes, "share_parts");
    if (type == at::kBFloat16) continue;
    EXPECT_TRUE(x.equal(sum));
    x = numbers(rank).to(type), before = processes->bytes_sent();
    processes->sum(x);
    expect_sent(processes->bytes_sent() - before, 2 * bytes, "sum");
    EXPECT_TRUE(x.equal(sum));
  }
  processes->leave();
}

TEST(Collectives, SumAndSendWhatTheoryCounts) {
  for (int64_t size : {2, 3, 4}) {
    Processes processes(
        size,
        [](int64_t) { return "--gtest_also_run_disabled_tests --gtest_filter=Collectives.DISABLED_AsOneOfSeveral"; },
        -1, fs::read_symlink("/proc/self/exe").string());
    EXPECT_EQ(processes.wait(60), std::vector<int>(static_cast<size_t>(size), 0)) << processes.err(0);
  }
}

/// Bytes that rank 0 sends in a step, the least of a run, and the bytes of the trained weights and of the layers' among
/// them that are gathered layer by layer.
struct Traffic {
  double sent = HUGE_VAL, weights = 0, layers = 0;
};

Traffic traffic(const Task& task, int64_t size, const std::string& shard) {
  std::string recipe = task.recipe("sft.yaml", "data: {train: " + task / "data/sft.jsonl" + R"(}
objective: {type: sft}
train: {steps: 6, batch_size: 18, checkpoint_every: 0, optimizer: {lr: 1.0e-3}}
)");
  std::string output = task / cat("traffic", size, shard);
  run(size, recipe, output, "train.shard=" + shard);
  Traffic out;
  for (const auto& row : metrics(output)) out.sent = std::min(out.sent, row.at("network/bytes_sent").get<double>());
  for (const auto& [name, value] : load_safetensors(weights_file(output)).tensors) {
    double bytes = static_cast<double>(value.nbytes());
    out.weights += bytes;
    if (name.find(".layers.") != std::string::npos && value.dim() == 2) out.layers += bytes;
  }
  return out;
}

TEST(Sharding, AStepSendsWhatTheoryCounts) {
  Task task;
  for (int64_t size : {2, 3})
    for (const char* shard : {"none", "optimizer", "gradients", "parameters"}) {
      if (size == 3 && std::string(shard) == "optimizer") continue;
      Traffic seen = traffic(task, size, shard);
      // Gradients and weights once; what is gathered by layers once more, for the backward pass (Rajbhandari et al.
      // 2020, section 7).
      double theory = 2 * seen.weights + (std::string(shard) == "parameters" ? seen.layers : 0);
      theory *= static_cast<double>(size - 1) / static_cast<double>(size);
      EXPECT_GE(seen.sent, theory) << size << shard;
      EXPECT_LE(seen.sent, theory * 1.05 + 16384) << size << shard;  // whole rows; metrics and messages
    }
}

}  // namespace
}  // namespace rft::sharding_test
