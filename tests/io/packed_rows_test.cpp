/// Rows of Parquet files that pyarrow wrote (tests/parity/make_parquet.py), and of gzipped JSON lines.
#include <zlib.h>

#include <nlohmann/json.hpp>

#include "rft/core/error.h"
#include "rft/io/rows.h"
#include "support.h"

namespace rft::packed_rows_test {
namespace {

using testing::message_of;
using testing::TempDir;
using testing::write_file;

std::string parquet(const std::string& name) { return testing::fixture("parity/data/parquet/" + name); }

#ifdef RFT_HAS_PARQUET
TEST(ParquetRows, AreTheRowsThatPyarrowWrote) {
  Rows expected = Rows::load(parquet("rows.jsonl"));
  for (std::string codec : {"zstd", "snappy", "gzip"}) {
    Rows rows = Rows::load(parquet(codec + ".parquet"));
    ASSERT_EQ(rows.size(), expected.size()) << codec;
    for (int64_t i = 0; i < rows.size(); ++i)
      EXPECT_EQ(nlohmann::json::parse(rows.json(i)), nlohmann::json::parse(expected.json(i))) << codec << " row " << i;
    EXPECT_EQ(rows.where(4), rows.file() + ":5");
    EXPECT_EQ(rows.integer(2, "answer"), 9007199254740993);
    EXPECT_FALSE(rows.has(2, "prompt"));
    EXPECT_EQ(message_of([&] { rows.require("prompt"); }).find("[" + rows.file() + ":3] a column `prompt` is needed"),
              0u);
  }
}

TEST(ParquetRows, ThatCantBeReadAreNamed) {
  auto says = [](const std::string& file, const std::string& part) {
    std::string message = message_of([&] { Rows::load(file); });
    EXPECT_NE(message.find(part), std::string::npos) << message;
    EXPECT_EQ(message.find("[" + file), 0u) << message;
  };
  says(parquet("binary.parquet"), "the column image holds binary");
  says(parquet("empty.parquet"), "at least one row");
  TempDir dir;
  std::string whole = testing::read_file(parquet("zstd.parquet"));
  write_file(dir / "text.parquet", "{\"prompt\": \"x\"}\n");
  says(dir / "text.parquet", "can't be read as Parquet");
  write_file(dir / "cut.parquet", whole.substr(0, whole.size() / 2));
  says(dir / "cut.parquet", "can't be read as Parquet");
  // Damage anywhere is an error or other rows, never a crash.
  for (size_t at = 0; at < whole.size(); at += 37) {
    std::string damaged = whole;
    damaged[at] = static_cast<char>(damaged[at] ^ 0x5A);
    write_file(dir / "damaged.parquet", damaged);
    try {
      Rows::load(dir / "damaged.parquet");
    } catch (const UserError&) {
    }
  }
}
#endif

std::string packed(const std::string& text) {
  TempDir dir;
  std::string file = dir / "x.gz";
  gzFile out = gzopen(file.c_str(), "wb");
  gzwrite(out, text.data(), static_cast<unsigned>(text.size()));
  gzclose(out);
  return testing::read_file(file);
}

TEST(Rows, OfSeveralFilesKnowTheirPlaces) {
  TempDir dir;
  write_file(dir / "a.jsonl", "{\"n\": 1}\n\n{\"n\": 2}\n");
  write_file(dir / "b.jsonl.gz", packed("{\"n\": 3}\n"));
  Rows rows = Rows::load(std::vector<std::string>{dir / "a.jsonl", dir / "b.jsonl.gz"});
  ASSERT_EQ(rows.size(), 3);
  EXPECT_EQ(rows.where(1), dir / "a.jsonl" + ":3");
  EXPECT_EQ(rows.where(2), dir / "b.jsonl.gz" + ":1");
  EXPECT_EQ(rows.select({2}).where(0), dir / "b.jsonl.gz" + ":1");
  EXPECT_EQ(rows.file_sizes(), (std::vector<int64_t>{2, 1}));
  write_file(dir / "c.jsonl", "{\"n\": 1}\n{\"n\": }\n");
  EXPECT_EQ(message_of([&] {
              Rows::load(std::vector<std::string>{dir / "a.jsonl", dir / "c.jsonl"});
            }).find("[" + dir / "c.jsonl" + ":2:"),
            0u);
  write_file(dir / "empty.jsonl", "\n");
  EXPECT_THROW(Rows::load(std::vector<std::string>{dir / "a.jsonl", dir / "empty.jsonl"}), UserError);
}

TEST(GzippedRows, AreReadAsPlainOnes) {
  TempDir dir;
  std::string lines;
  for (int i = 0; i < 200000; ++i) lines += "{\"n\": " + std::to_string(i) + "}\n";  // several buffers
  write_file(dir / "d.jsonl.gz", packed(lines) + packed("{\"n\": -1}\n"));           // and two members
  Rows rows = Rows::load(dir / "d.jsonl.gz");
  ASSERT_EQ(rows.size(), 200001);
  EXPECT_EQ(rows.integer(199999, "n"), 199999);
  EXPECT_EQ(rows.integer(200000, "n"), -1);
  EXPECT_EQ(rows.where(200000), rows.file() + ":200001");
}

TEST(GzippedRows, ThatAreDamagedOrCutShortAreNamed) {
  TempDir dir;
  std::string whole = packed("{\"n\": 1}\n{\"n\": 2}\n");
  auto says = [&](const std::string& content, const std::string& part) {
    write_file(dir / "d.jsonl.gz", content);
    std::string message = message_of([&] { Rows::load(dir / "d.jsonl.gz"); });
    EXPECT_NE(message.find(part), std::string::npos) << message;
  };
  says(whole.substr(0, whole.size() - 6), "cut short");
  says("{\"n\": 1}\n", "not a whole gzip file");
  says("", "cut short");
  std::string damaged = whole;
  damaged[whole.size() - 7] = static_cast<char>(damaged[whole.size() - 7] ^ 1);  // the checksum
  says(damaged, "not a whole gzip file");
}

}  // namespace
}  // namespace rft::packed_rows_test
