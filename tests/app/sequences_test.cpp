// Whole runs of masked diffusion: every stage writes what the next reads, and a resumed run ends the same.
#include <nlohmann/json.hpp>

#include "support.h"

namespace rft::sequences_test {
namespace {
namespace fs = std::filesystem;
using testing::read_file;

constexpr char kWeights[] = "/final/model.safetensors";

/// Surnames, and a base model that has seen a few of them.
class Names {
 public:
  Names() {
    run(cat("data names --hidden-size 16 --layers 1 --from ", RFT_SOURCE_DIR, "/examples/names --out ", dir_ / "data"));
    train("base", "policy: {type: masked_diffusion, path: " + data("model") + ", ema_decay: 0.5}\ndata: {train: " +
                      data("train.jsonl") + "}\nobjective: {type: sft}\ntrain: {steps: 3, batch_size: 32}");
  }
  std::string data(const std::string& name) const { return dir_ / ("data/" + name); }
  std::string path(const std::string& name) const { return dir_ / name; }
  testing::Ran run(const std::string& arguments, int code = 0) const {
    testing::Ran ran = testing::rft(arguments);
    EXPECT_EQ(ran.code, code) << arguments << "\n" << ran.err;
    return ran;
  }
  testing::Ran train(const std::string& name, const std::string& recipe, const std::string& more = "",
                     int code = 0) const {
    testing::write_file(dir_ / (name + ".yaml"),
                        "run: {seed: 3, threads: 1, output: " + path(name) + "}\n" + recipe + "\n");
    return run("train " + dir_ / (name + ".yaml") + " --quiet " + more, code);
  }
  std::string rewarded(const std::string& objective, const std::string& rollout) const {
    return "policy: {type: masked_diffusion, path: " + path("base/final") +
           "}\ndata: {prompts: " + data("contexts.jsonl") + ", eval: " + data("contexts.jsonl") + "}\nrollout: {" +
           rollout + "}\nreward: {type: motif, motifs: [A, E], vocabulary: " + data("model") +
           "}\nobjective: " + objective +
           "\ntrain: {steps: 4, batch_size: 8, micro_batch_size: 6, checkpoint_every: 2, optimizer: {lr: 1.0e-2}}";
  }

 private:
  testing::TempDir dir_;
};

const Names& names() {
  static const Names made;
  return made;
}

nlohmann::json last_line(const std::string& file) {
  std::istringstream lines(read_file(file));
  std::string last;
  for (std::string line; std::getline(lines, line);) last = line;
  return nlohmann::json::parse(last);
}

TEST(Sequences, RunsResumedFromACheckpointEndBitForBitTheSame) {
  for (const auto& [name, objective, rollout] :
       {std::tuple{"grpo", "{type: grpo, kl_weight: 0.1}", "steps: 4, group_size: 4"},
        std::tuple{"drakes", "{type: draft, last_steps: 2, kl_weight: 0.1}",
                   "steps: 4, final_relaxation_temperature: 0.5, relaxation_steps: 3"},
        std::tuple{"dpo", "{type: dpo}", "steps: 4, group_size: 4, judge: forward"}}) {
    std::string recipe = names().rewarded(objective, rollout), run = names().path(name);
    names().train(name, recipe);
    std::string weights = read_file(run + kWeights);
    auto metrics = last_line(run + "/metrics.jsonl");
    if (metrics.contains("logp_mismatch")) EXPECT_LE(metrics.at("logp_mismatch").get<double>(), 1e-5) << name;
    EXPECT_TRUE(metrics.contains("eval/reward")) << name;
    EXPECT_EQ(last_line(run + "/samples.jsonl").at("completion").get<std::string>().size(), 8) << name;
    fs::remove_all(run + "/checkpoints/step-4"), fs::remove_all(run + "/final");
    names().train(name, recipe, "--resume");
    EXPECT_TRUE(read_file(run + kWeights) == weights) << name;
  }
}

TEST(Sequences, WhatIsWrittenIsADirectoryToGoOnFrom) {
  std::string final = names().path("base/final");
  for (const char* file : {"/config.json", "/vocab.txt", "/model.safetensors"})
    EXPECT_TRUE(fs::exists(final + file)) << file;
  auto base = names().train("again", names().rewarded("{type: draft}", "steps: 2"));
  EXPECT_NE(read_file(names().path("again") + kWeights), read_file(final + "/model.safetensors"));
}

TEST(Sequences, BadInputIsNamed) {
  auto refused = [&](const std::string& row, const std::string& rollout = "") {
    testing::write_file(names().path("rows.jsonl"), "{\"completion\": \"SMITH...\"}\n" + row + "\n");
    return names()
        .train("bad",
               "policy: {type: masked_diffusion, path: " + names().data("model") + "}\nrollout: {" + rollout +
                   "}\ndata: {train: " + names().path("rows.jsonl") + "}\nobjective: {type: sft}\ntrain: {steps: 1}",
               "", 2)
        .err;
  };
  std::string lower = refused("{\"completion\": \"smith...\"}");
  EXPECT_NE(lower.find("rows.jsonl:2"), std::string::npos) << lower;
  EXPECT_NE(lower.find("'s'"), std::string::npos) << lower;
  EXPECT_NE(refused("{\"completion\": \"SMITH\"}").find("rollout.length"), std::string::npos);
  EXPECT_NE(refused("{\"completion\": \"SMITH...\"}", "length: 9").find("at most 8"), std::string::npos);
  EXPECT_NE(refused("{\"completion\": \"SMITH...\"}", "order: sideways").find("left_to_right"), std::string::npos);
}

}  // namespace
}  // namespace rft::sequences_test
