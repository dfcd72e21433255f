#include "rft/io/hf_directory.h"

#include <ATen/ATen.h>

#include <filesystem>
#include <nlohmann/json.hpp>

#include "rft/io/safetensors.h"
#include "support.h"

namespace rft::hf_directory_test {
namespace {

using namespace testing;
using Tensors = std::map<std::string, Tensor>;

constexpr char kIndex[] = "model.safetensors.index.json";

Tensors some_tensors() {
  return {{"a", at::arange(8, at::kFloat)},
          {"b", at::arange(16, at::kFloat)},
          {"c", at::arange(4, at::kHalf)},
          {"d", at::ones({40})}};
}

void expect_same(const Tensors& got, const Tensors& expected) {
  ASSERT_EQ(got.size(), expected.size());
  for (const auto& [name, value] : expected) EXPECT_TRUE(got.at(name).equal(value)) << name;
}

/// What load_hf_tensors says of a directory with this index file, without the name in front.
std::string refusal_of_index(const std::string& content) {
  TempDir dir;
  save_safetensors(dir / "x.safetensors", {{"a", at::ones({1})}});
  write_file(dir / kIndex, content);
  auto message = message_of([&] { load_hf_tensors(dir.path()); });
  EXPECT_EQ(message.rfind("[" + dir / kIndex + "] ", 0), 0u) << message;
  return message.substr(std::min(message.size(), (dir / kIndex).size() + 3));
}

TEST(HfDirectory, ReadsShardsThatTransformersWrote) {
  auto tensors = load_hf_tensors(fixture("parity/data/decoders/qwen2_sharded"));
  EXPECT_EQ(tensors.size(), 27u);  // 2 layers of 12, embedding, norm, head
  EXPECT_EQ(tensors.at("lm_head.weight").sizes(), (std::vector<int64_t>{64, 32}));
}

TEST(HfDirectory, ReadsBackWhatItWroteWholeOrSharded) {
  for (int64_t limit : {int64_t{1} << 30, int64_t{100}, int64_t{1}}) {
    TempDir dir;
    save_hf_tensors(dir.path(), some_tensors(), limit);
    expect_same(load_hf_tensors(dir.path()), some_tensors());
  }
}

TEST(HfDirectory, FillsShardsUpToTheLimitAndIndexesThemAsTransformersDoes) {
  TempDir dir;
  save_hf_tensors(dir.path(), some_tensors(), 100);  // a 32 + b 64, c 8, d 160 bytes
  auto index = nlohmann::json::parse(read_file(dir / kIndex));
  EXPECT_EQ(index["metadata"]["total_size"], 264);
  EXPECT_EQ(index["weight_map"]["a"], "model-00001-of-00003.safetensors");
  EXPECT_EQ(index["weight_map"]["b"], "model-00001-of-00003.safetensors");
  EXPECT_EQ(index["weight_map"]["c"], "model-00002-of-00003.safetensors");
  EXPECT_EQ(index["weight_map"]["d"], "model-00003-of-00003.safetensors");
}

TEST(HfDirectory, ReplacesAnEarlierSaveOfTheOtherForm) {
  TempDir dir;
  Tensors first = some_tensors(), second = {{"a", at::zeros({8})}, {"z", at::zeros({8})}};
  save_hf_tensors(dir.path(), first);
  save_hf_tensors(dir.path(), second, 32);
  expect_same(load_hf_tensors(dir.path()), second);
  save_hf_tensors(dir.path(), first);
  expect_same(load_hf_tensors(dir.path()), first);
  EXPECT_FALSE(std::filesystem::exists(dir / kIndex));
}

TEST(HfDirectory, RefusesAnIndexThatIsNone) {
  EXPECT_EQ(refusal_of_index("[]"), "this is not a JSON object");
  EXPECT_EQ(refusal_of_index("{"), "this is not a JSON object");
  EXPECT_EQ(refusal_of_index("{}"), "a weight_map is needed");
  EXPECT_EQ(refusal_of_index(R"({"weight_map": {"a": 3}})"), "weight_map must name a file for 'a'");
  EXPECT_EQ(refusal_of_index(R"({"weight_map": {"b": "x.safetensors"}})"),
            "says that 'b' is in x.safetensors, where it is not");
  EXPECT_EQ(refusal_of_index("{\"weight_map\": " + std::string(100000, '[')),
            "JSON may nest at most 64 deep; this nests deeper");
}

TEST(HfDirectory, KeepsShardsInsideTheDirectory) {
  for (const char* shard : {"../x.safetensors", "/etc/x.safetensors", "a/../../x.safetensors", ""}) {
    auto message = refusal_of_index(nlohmann::json{{"weight_map", {{"a", shard}}}}.dump());
    EXPECT_NE(message.find("a file name must stay inside"), std::string::npos) << message;
  }
  TempDir dir, outside;
  save_safetensors(outside / "x.safetensors", {{"a", at::ones({1})}});
  std::filesystem::create_symlink(outside / "x.safetensors", dir / "x.safetensors");
  write_file(dir / kIndex, R"({"weight_map": {"a": "x.safetensors"}})");
  EXPECT_NE(message_of([&] { load_hf_tensors(dir.path()); }).find("is a link that leads out of it"), std::string::npos);
}

TEST(HfDirectory, RefusesPicklesAndSaysHowToConvertThem) {
  TempDir dir;
  write_file(dir / "pytorch_model.bin", "\x80\x02");
  auto message = message_of([&] { load_hf_tensors(dir.path()); });
  EXPECT_NE(message.find("pytorch_model.bin"), std::string::npos) << message;
  EXPECT_NE(message.find("save_pretrained"), std::string::npos) << message;
}

TEST(HfDirectory, NamesADirectoryThatIsMissingOrHoldsNoWeights) {
  TempDir dir;
  EXPECT_EQ(message_of([&] { load_hf_tensors(dir / "none"); }), "[" + dir / "none" + "] there is no such directory");
  EXPECT_EQ(message_of([&] { load_hf_tensors(dir.path()); }),
            "[" + dir.path() + "] there is neither model.safetensors nor model.safetensors.index.json");
}

TEST(HfDirectory, FindsTheEndOfTextIds) {
  TempDir dir;
  EXPECT_TRUE(eos_token_ids(dir.path()).empty());
  write_file(dir / "config.json", R"({"eos_token_id": 5})");
  EXPECT_EQ(eos_token_ids(dir.path()), (std::vector<int64_t>{5}));
  write_file(dir / "generation_config.json", R"({"eos_token_id": null})");
  EXPECT_EQ(eos_token_ids(dir.path()), (std::vector<int64_t>{5}));
  write_file(dir / "generation_config.json", R"({"eos_token_id": [7, 8]})");
  EXPECT_EQ(eos_token_ids(dir.path()), (std::vector<int64_t>{7, 8}));
  write_file(dir / "generation_config.json", R"({"eos_token_id": ["</s>"]})");
  EXPECT_EQ(
      message_of([&] { eos_token_ids(dir.path()); }),
      "[" + dir / "generation_config.json" + "] eos_token_id must be a number or a list of numbers; got [\"</s>\"]");
}

TEST(HfDirectory, CopiesTheTextFilesThatAreThere) {
  TempDir from, to;
  write_file(from / "tokenizer.json", "{}");
  write_file(from / "chat_template.jinja", "{{ x }}");
  write_file(from / "model.safetensors", "");
  copy_text_files(from.path(), to.path());
  EXPECT_EQ(read_file(to / "tokenizer.json"), "{}");
  EXPECT_EQ(read_file(to / "chat_template.jinja"), "{{ x }}");
  EXPECT_FALSE(std::filesystem::exists(to / "model.safetensors"));
}

}  // namespace
}  // namespace rft::hf_directory_test
