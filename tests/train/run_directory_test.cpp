#include "train/run_directory.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <nlohmann/json.hpp>

#include "rft/core/extra.h"
#include "support.h"

namespace rft::run_directory_test {
namespace {
namespace fs = std::filesystem;
using testing::message_of;
using testing::read_file;
using testing::TempDir;
using testing::write_file;

/// A recipe without stages: the run directory looks at its `run` block.
Recipe recipe_at(const std::string& path) {
  Recipe recipe;
  recipe.run.name = "test";
  recipe.run.output = path;
  return recipe;
}

void run_steps(const Recipe& recipe, bool resume, int64_t resumed_at, int64_t last) {
  RunDirectory run(recipe, resume, false, true);
  run.open(resumed_at);
  run.begin_stage("sft", resumed_at, 10, 100);
  for (int64_t step = resumed_at + 1; step <= last; ++step)
    run.step(step, "sft", step, {{"loss", 1.0 / static_cast<double>(step)}, {"kl", step == 2 ? NAN : 0.5}});
  run.close();
}

std::vector<nlohmann::json> rows_of(const std::string& file) {
  std::istringstream lines(read_file(file));
  std::vector<nlohmann::json> out;
  for (std::string line; std::getline(lines, line);) out.push_back(nlohmann::json::parse(line));
  return out;
}

std::vector<std::string> event_files(const std::string& path) {
  std::vector<std::string> out;
  for (const auto& entry : fs::directory_iterator(path))
    if (entry.path().filename().string().rfind("events.out.tfevents.", 0) == 0) out.push_back(entry.path().string());
  std::sort(out.begin(), out.end());
  return out;
}

TEST(RunDirectory, ARunLeavesItsFiles) {
  TempDir dir;
  run_steps(recipe_at(dir / "new/run/"), false, 0, 3);
  EXPECT_NE(read_file(dir / "new/run/config.yaml").find("name: test"), std::string::npos);
  auto rows = rows_of(dir / "new/run/metrics.jsonl");
  ASSERT_EQ(rows.size(), 3u);
  EXPECT_EQ(rows[2]["loss"].get<double>(), 1.0 / 3) << "bit for bit";
  EXPECT_TRUE(rows[1]["kl"].is_null());
  EXPECT_EQ(rows[1]["stage_step"], 2);
  EXPECT_EQ(read_file(dir / "new/run/metrics.jsonl")
                .rfind("{\"step\":1,\"stage\":\"sft\",\"stage_step\":1,\"kl\":0.5,\"loss\":1.0}\n", 0),
            0u);
  EXPECT_NE(read_file(dir / "new/run/curves.svg").find(">loss<"), std::string::npos);
  EXPECT_EQ(event_files(dir / "new/run").size(), 1u);
}

TEST(RunDirectory, AResumedRunHasEveryStepOnce) {
  TempDir dir;
  Recipe recipe = recipe_at(dir / "run");
  run_steps(recipe, false, 0, 7);
  uintmax_t whole = fs::file_size(event_files(dir / "run").at(0));
  run_steps(recipe, true, 4, 9);
  auto rows = rows_of(dir / "run/metrics.jsonl");
  ASSERT_EQ(rows.size(), 9u);
  for (size_t i = 0; i < 9; ++i) EXPECT_EQ(rows[i]["step"], i + 1);
  auto files = event_files(dir / "run");
  ASSERT_EQ(files.size(), 2u);
  EXPECT_LT(fs::file_size(files[0]), whole);
  EXPECT_FALSE(fs::exists(dir / "run.old-1"));
}

TEST(RunDirectory, AnEarlierRunIsMovedAsideWhole) {
  TempDir dir;
  Recipe recipe = recipe_at(dir / "run");
  for (int64_t last : {1, 2, 3}) run_steps(recipe, false, 0, last);
  EXPECT_EQ(rows_of(dir / "run.old-1/metrics.jsonl").size(), 1u);
  EXPECT_EQ(rows_of(dir / "run.old-2/metrics.jsonl").size(), 2u);
  EXPECT_EQ(rows_of(dir / "run/metrics.jsonl").size(), 3u);
}

TEST(RunDirectory, ADirectoryThatHoldsNoRunStaysWhereItIs) {
  TempDir dir;
  write_file(dir / "notes.txt", "mine");
  run_steps(recipe_at(dir.path()), false, 0, 1);
  EXPECT_EQ(read_file(dir / "notes.txt"), "mine");
  EXPECT_EQ(rows_of(dir / "metrics.jsonl").size(), 1u);
}

TEST(RunDirectory, WhatTheRunReadsIsNeverMovedAside) {
  TempDir dir;
  run_steps(recipe_at(dir / "run"), false, 0, 1);
  fs::path before = fs::current_path();
  fs::current_path(dir / "run");
  std::string message = message_of([&] { RunDirectory(recipe_at(dir / "run"), false, false, true); });
  EXPECT_NE(message.find("[run.output]"), std::string::npos) << message;
  RunDirectory resumed(recipe_at(dir / "run"), true, false, true);
  fs::current_path(before);
}

TEST(RunDirectory, ADryRunWritesNothing) {
  TempDir dir;
  {
    RunDirectory run(recipe_at(dir / "run"), false, true, true);
    run.open(0);
    run.begin_stage("sft", 0, 1, 1);
    run.step(1, "sft", 1, {{"loss", 1}});
    run.samples(1, "sft", {}, 4);
    run.close();
  }
  EXPECT_TRUE(fs::is_empty(dir.path()));
}

TEST(RunDirectory, AnOutputThatCantBeWrittenIsNamed) {
  TempDir dir;
  write_file(dir / "file", "x");
  for (const std::string& path : {dir / "file", dir / "file/run", std::string("/proc/run")}) {
    RunDirectory run(recipe_at(path), false, false, true);
    std::string message = message_of<RunError>([&] { run.open(0); });
    EXPECT_NE(message.find("[" + path), std::string::npos) << message;
  }
}

TEST(RunDirectory, AFullDiskEndsTheRunAndNamesTheFile) {
  TempDir dir;
  fs::create_symlink("/dev/full", dir / "samples.jsonl");
  RunDirectory run(recipe_at(dir.path()), true, false, true);
  run.open(0);
  Experience batch;
  batch.reward = at::ones({1});
  std::string message = message_of<RunError>([&] { run.samples(1, "grpo", batch, 1); });
  EXPECT_NE(message.find("samples.jsonl] the file can't be written: No space left"), std::string::npos) << message;
}

TEST(RunDirectory, SamplesShowTextsRewardsAndAdvantages) {
  TempDir dir;
  Experience batch;
  batch.context.set_text(extra::prompt, {"1+1=", "2+2=", "3+3="});
  batch.context.set_text(extra::completion, {"2", "4\xff", "6"});
  batch.mask = at::tensor(std::vector<int64_t>{0, 1, 1, 1, 1, 0}).view({3, 2}).to(at::kBool);
  batch.reward = at::tensor(std::vector<float>{1.5f, NAN, 0});
  batch.advantage = at::tensor(std::vector<float>{9, 2, 1, 2, 3, 9}).view({3, 2});
  batch.extra.set(extra::reward_components, at::tensor(std::vector<float>{1, 0.5f, NAN, 0, 0, 0}).view({3, 2}));
  batch.extra.set_text(extra::reward_names, {"math,format", "math,format", "math,format"});
  {
    RunDirectory run(recipe_at(dir / "run"), false, false, true);
    run.open(0);
    run.samples(3, "grpo", batch, 2);
    run.samples(4, "grpo", {}, 2);  // nothing rolled out yet
  }
  auto rows = rows_of(dir / "run/samples.jsonl");
  ASSERT_EQ(rows.size(), 2u);
  EXPECT_EQ(rows[0], nlohmann::json::parse(R"({"step":3,"stage":"grpo","prompt":"1+1=","completion":"2","reward":1.5,
                                               "rewards":{"math":1.0,"format":0.5},"advantage":2.0})"));
  EXPECT_EQ(rows[1]["completion"], "4\xef\xbf\xbd") << "bytes that are no UTF-8 are replaced";
  EXPECT_TRUE(rows[1]["reward"].is_null());
  EXPECT_TRUE(rows[1]["rewards"]["math"].is_null());
  EXPECT_EQ(rows[1]["advantage"], 1.5);
}

TEST(RunDirectory, AnErrorStillLeavesCurves) {
  TempDir dir;
  {
    RunDirectory run(recipe_at(dir / "run"), false, false, true);
    run.open(0);
    run.step(1, "sft", 1, {{"loss", 1}});
  }
  EXPECT_NE(read_file(dir / "run/curves.svg").find(">loss<"), std::string::npos);
}

}  // namespace
}  // namespace rft::run_directory_test
