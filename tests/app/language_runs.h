#pragma once
/// Recipes run through the program on a tiny language model and a task of additions.
#include <filesystem>
#include <nlohmann/json.hpp>
#include <sstream>

#include "support.h"

namespace rft::testing {

class LanguageRuns : public ::testing::Test {
 protected:
  static void SetUpTestSuite() {
    dir_ = new TempDir;
    auto made = rft("data --out " + path("data") +
                    " --digits 2 --demonstrations 60 --train 48 --test 16 --hidden-size 32 --layers 2 --seed 1");
    ASSERT_EQ(made.code, 0) << made.err;
  }
  static void TearDownTestSuite() { delete dir_; }
  static std::string path(const std::string& name) { return dir_->path() + "/" + name; }

  /// A recipe of one stage; `more` adds blocks to policy, data, objective and the rest.
  static std::string recipe(const std::string& name, const std::string& policy, const std::string& data,
                            const std::string& rest) {
    std::string file = path(name + ".yaml");
    write_file(file, "run: {name: " + name + ", seed: 3, threads: 1, output: " + path(name) + "}\npolicy: " + policy +
                         "\ndata: " + data + "\n" + rest +
                         "\ntrain: {steps: 4, batch_size: 8, micro_batch_size: 4, log_every: 1, checkpoint_every: 2, "
                         "optimizer: {lr: 1.0e-3}}\n");
    return file;
  }
  static std::string model() { return "{type: causal_lm, path: " + path("data/model") + "}"; }
  static std::string rows(const std::string& file) { return "{train: " + path("data/" + file) + "}"; }
  static std::vector<nlohmann::json> metrics(const std::string& name) {
    std::vector<nlohmann::json> out;
    std::istringstream in(read_file(path(name) + "/metrics.jsonl"));
    for (std::string line; std::getline(in, line);) out.push_back(nlohmann::json::parse(line));
    return out;
  }
  /// Trains, then once more in two halves: both must end with the same files.
  static void trains_and_resumes(const std::string& name, const std::string& file) {
    auto whole = rft("train " + file + " --quiet");
    ASSERT_EQ(whole.code, 0) << whole.err;
    std::string other = path(name + "-halves");
    ASSERT_EQ(rft("train " + file + " --quiet run.output=" + other).code, 0);
    std::filesystem::remove_all(other + "/final");
    std::filesystem::remove_all(other + "/checkpoints/step-4");
    auto resumed = rft("train " + file + " --quiet --resume run.output=" + other);
    ASSERT_EQ(resumed.code, 0) << resumed.err;
    for (const auto& entry : std::filesystem::directory_iterator(path(name) + "/final"))
      if (entry.path().extension() == ".safetensors")
        EXPECT_EQ(read_file(entry.path()), read_file(other + "/final/" + entry.path().filename().string()))
            << entry.path();
  }

  static inline TempDir* dir_ = nullptr;
};

}  // namespace rft::testing
