#include "rft/train/checkpoint.h"

#include <ATen/ATen.h>

#include <atomic>
#include <filesystem>

#include "rft/core/error.h"
#include "rft/io/files.h"
#include "support.h"

namespace rft::checkpoint_test {
namespace {
namespace fs = std::filesystem;
using testing::TempDir;
using testing::write_file;

void write_step(const TempDir& dir, int64_t step, const std::string& content) {
  write_directory_atomically(dir / "checkpoints", "step-" + std::to_string(step), [&](const std::string& into) {
    write_file(into + "/weights", content);
    fs::create_directory(into + "/trainer");
    write_file(into + "/trainer/state", content + "!");
  });
}

TEST(Checkpoint, TheNewestWholeOneIsUsed) {
  TempDir dir;
  EXPECT_FALSE(newest_checkpoint(dir.path()));
  for (int64_t step : {2, 10, 9}) write_step(dir, step, "w");
  EXPECT_EQ(*newest_checkpoint(dir.path()), dir / "checkpoints/step-10");
  write_file(dir / "checkpoints/step-10/weights", "x");  // same size, other content
  EXPECT_EQ(*newest_checkpoint(dir.path()), dir / "checkpoints/step-9");
  fs::remove(dir / "checkpoints/step-9/trainer/state");
  EXPECT_EQ(*newest_checkpoint(dir.path()), dir / "checkpoints/step-2");
  std::string why;
  EXPECT_FALSE(verify_directory(dir / "checkpoints/step-9", &why));
  EXPECT_NE(why.find("trainer/state is missing"), std::string::npos);
}

TEST(Checkpoint, AWriterThatFailsLeavesWhatWasThere) {
  TempDir dir;
  write_step(dir, 1, "old");
  EXPECT_THROW(write_directory_atomically(dir / "checkpoints", "step-1",
                                          [](const std::string& into) {
                                            write_file(into + "/weights", "half");
                                            throw RunError("disk full");
                                          }),
               RunError);
  EXPECT_EQ(testing::read_file(dir / "checkpoints/step-1/weights"), "old");
  EXPECT_TRUE(verify_directory(dir / "checkpoints/step-1"));
  EXPECT_EQ(std::distance(fs::directory_iterator(dir / "checkpoints"), {}), 1) << "no partial directory stays behind";
}

TEST(Checkpoint, AHalfWrittenDirectoryIsNotACheckpoint) {
  TempDir dir;
  fs::create_directories(dir / "checkpoints/.step-5.partial");
  fs::create_directories(dir / "checkpoints/step-6");
  write_file(dir / "checkpoints/step-6/weights", "no manifest");
  EXPECT_FALSE(newest_checkpoint(dir.path()));
}

TEST(Checkpoint, LatestPointsToTheNewestAndOldOnesGo) {
  TempDir dir;
  for (int64_t step : {1, 2, 3}) write_step(dir, step, "w"), publish_checkpoint(dir.path(), step, 2);
  EXPECT_EQ(fs::read_symlink(dir / "checkpoints/latest"), "step-3");
  EXPECT_FALSE(fs::exists(dir / "checkpoints/step-1"));
  EXPECT_TRUE(fs::exists(dir / "checkpoints/step-2"));
}

TEST(Checkpoint, EveryNthStays) {
  TempDir dir;
  for (int64_t step = 1; step <= 7; ++step) write_step(dir, step, "w"), publish_checkpoint(dir.path(), step, 2, 3);
  std::vector<bool> there;
  for (int64_t step = 1; step <= 7; ++step) there.push_back(fs::exists(dir / cat("checkpoints/step-", step)));
  EXPECT_EQ(there, (std::vector<bool>{false, false, true, false, false, true, true}));
}

TEST(Checkpoint, InTheBackgroundItAppearsWholeAndAFailureIsToldLater) {
  TempDir dir;
  DirectoryWriter writer;
  std::atomic<bool> published = false;
  std::string content = "as it was";
  auto fill = [&](const std::string& into) { write_file(into + "/weights", content); };
  writer.write(
      dir / "checkpoints", "step-1", fill, [&] { published = true; }, true);
  content = "changed meanwhile";
  writer.wait();
  EXPECT_TRUE(published);
  EXPECT_TRUE(verify_directory(dir / "checkpoints/step-1"));
  EXPECT_EQ(testing::read_file(dir / "checkpoints/step-1/weights"), "as it was");
  writer.check();  // nothing has failed
  auto fails = [](const std::string&) { throw RunError("no space"); };
  EXPECT_THROW(writer.write(
                   dir / "checkpoints", "step-3", fails, [] {}, true),
               RunError)
      << "the copy is waited for";
  writer.write(
      dir / "checkpoints", "step-2", fill, [] { throw RunError("latest can't be written"); }, true);
  EXPECT_THROW(writer.wait(), RunError);
  writer.check();  // told once
}

TEST(Checkpoint, AnExperienceComesBackBitForBit) {
  TempDir dir;
  Experience batch;
  batch.context.set("prompt_ids", at::arange(6, at::kLong).view({2, 3}));
  batch.context.set_text("prompt", {"one \"quoted\"\n", "zwei \xc3\xa4"});
  batch.context.set_text("completion", {"within a character \xc3", std::string("\xff\0\xfe", 3)});
  batch.mask = at::tensor(std::vector<int64_t>{1, 0, 1, 1}).view({2, 2}).to(at::kBool);
  batch.logp = at::randn({2, 2});
  batch.reward = at::tensor(std::vector<float>{NAN, 1.5f});
  batch.extra.set("truncated", at::zeros({2}, at::kBool));
  batch.fill_totals();
  save_experience(dir / "batch", batch);
  Experience again = load_experience(dir / "batch");
  EXPECT_TRUE(at::equal(again.logp, batch.logp));
  EXPECT_TRUE(again.reward[0].isnan().item<bool>());
  EXPECT_EQ(again.mask.scalar_type(), at::kBool);
  EXPECT_EQ(again.context.text("prompt"), batch.context.text("prompt"));
  EXPECT_EQ(again.context.text("completion"), batch.context.text("completion"));
  EXPECT_TRUE(again.extra.has("truncated"));
  EXPECT_FALSE(again.action.defined());
  EXPECT_EQ(again.totals.tokens, 3);
}

}  // namespace
}  // namespace rft::checkpoint_test
