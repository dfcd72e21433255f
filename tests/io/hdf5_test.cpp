// Episodes from HDF5 files that h5py wrote (tests/parity/make_trajectories.py), and from files that lie.
#include <ATen/ATen.h>

#include <filesystem>

#include "rft/io/rows.h"
#include "support.h"

namespace rft::hdf5_test {
namespace {

std::string file_of(const std::string& name) { return testing::fixture("parity/data/trajectories") + "/" + name; }

/// Whether the library was built with HDF5.
bool reads_hdf5() {
  try {
    Rows::load(file_of("d4rl.hdf5"));
  } catch (const UserError& error) {
    return std::string(error.what()).find("does not read HDF5") == std::string::npos;
  }
  return true;
}

class Hdf5 : public ::testing::Test {
  void SetUp() override {
    if (!reads_hdf5()) GTEST_SKIP() << "built without HDF5";
  }
};

void expect_same(const Rows& got, int64_t i, const Rows& expected, int64_t j) {
  for (auto [column, width] : {std::pair{"observations", 3}, {"actions", 2}, {"rewards", 1}})
    EXPECT_TRUE(got.numbers(i, column, width).equal(expected.numbers(j, column, width))) << column << " of " << i;
  EXPECT_EQ(got.text(i, "terminated"), expected.text(j, "terminated"));
}

TEST_F(Hdf5, D4rlsArraysAreCutIntoEpisodes) {
  Rows got = Rows::load(file_of("d4rl.hdf5")), expected = Rows::load(file_of("episodes.jsonl"));
  ASSERT_EQ(got.size(), 3);
  for (int64_t i = 0; i < 3; ++i) expect_same(got, i, expected, i);
  EXPECT_TRUE(got.has(0, "rewards"));
  EXPECT_FALSE(got.has(0, "infos"));
  EXPECT_NE(
      testing::message_of([&] { got.numbers(1, "actions", 5); }).find("d4rl.hdf5:episode_1] `actions` must hold 5"),
      std::string::npos);
  EXPECT_NE(testing::message_of([&] { got.numbers(0, "action", 2); }).find("did you mean 'actions'"),
            std::string::npos);
  EXPECT_NE(testing::message_of([&] { got.text(0, "actions"); }).find("it is an array"), std::string::npos);
  EXPECT_NE(got.fingerprint(), got.select({0, 2, 1}).fingerprint());
  EXPECT_EQ(got.fingerprint(), Rows::load(file_of("d4rl.hdf5")).fingerprint());
}

TEST_F(Hdf5, MinarisGroupsComeInTheOrderOfTheirNumbers) {
  Rows got = Rows::load(file_of("minari.hdf5")), expected = Rows::load(file_of("episodes.jsonl"));
  ASSERT_EQ(got.size(), 12);
  for (int64_t i = 0; i < 12; ++i) {
    EXPECT_EQ(got.integer(i, "episode"), i);
    expect_same(got, i, expected, i % 3);
  }
}

TEST_F(Hdf5, FilesThatLieAreRefusedByName) {
  const std::pair<const char*, const char*> cases[] = {
      {"external_link", ":/actions] must be in the file itself; got a link"},
      {"soft_link", ":/actions] must be in the file itself; got a link"},
      {"external_data", ":/actions] must be in the file itself; got numbers that are kept in other files"},
      {"virtual", ":/actions] must be in the file itself; got numbers that are kept in other files"},
      {"huge", "may hold at most 1073741824 numbers"},
      {"huge_product", "may hold at most 1073741824 numbers"},
      {"text", ":/actions] must be an array of numbers or truth values"},
      {"dimensions", "must have one or two dimensions, step by step; got 3"},
      {"scalar", "must have one or two dimensions, step by step; got 0"},
      {"dictionary", ":/observations] must be an array of numbers; a group of arrays"},
      {"lengths", ":/observations] must hold 3 rows; got 4 of 3"},
      {"ends", ":/terminals] is needed, or `timeouts`"},
      {"names", "episode_0, episode_1, .. (Minari); it holds: observations, terminals"},
      {"group", ":/episode_0/actions] is needed; the group has: observations"},
      {"truncated", "bad_truncated.hdf5] there is no such file, or it is not HDF5"},
      {"format", "bad_format.hdf5] there is no such file, or it is not HDF5"},
  };
  for (auto [name, expected] : cases) {
    std::string message = testing::message_of([&] { Rows::load(file_of(cat("bad_", name, ".hdf5"))); });
    EXPECT_NE(message.find(expected), std::string::npos) << name << ": " << message;
  }
  EXPECT_THROW(Rows::load("/no/such/file.hdf5"), UserError);
}

}  // namespace
}  // namespace rft::hdf5_test
