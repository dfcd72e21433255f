/// LoRA files of image models against diffusers; fixtures by tests/parity/make_image_lora.py.
#include "rft/nn/image_lora.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <nlohmann/json.hpp>
#include <set>

#include "rft/io/safetensors.h"
#include "support.h"

namespace rft::image_lora_test {
namespace {

using testing::fixture;
using testing::message_of;
using testing::read_file;

const std::string kData = "parity/data/image_lora/";

SafetensorsFile read(const std::string& name) { return load_safetensors(fixture(kData + name + ".safetensors")); }

/// The linear layers of the fixture's model, random.
Weights model(const std::string& part, at::ScalarType dtype = at::kFloat) {
  auto shapes = nlohmann::json::parse(read_file(fixture(kData + "linears.json"))).at(part);
  auto source = WeightSource::random(dtype, 3);
  for (const auto& [name, shape] : shapes.items()) source.linear(name, shape[1], shape[0]);
  return source.finish();
}

std::string part_of(const std::string& name) { return name.substr(0, name.find('_')); }

void load(Weights& weights, const std::string& name) {
  auto file = read(name);
  load_diffusers_lora(weights, file.tensors, file.metadata, part_of(name), "FILE");
}

const Linear& layer(const Weights& weights, const std::string& path) {
  for (const auto& [name, linear] : weights.linears)
    if (name == path) return *linear;
  throw std::runtime_error("no layer " + path);
}

std::vector<std::string> adapted(const Weights& weights) {
  std::vector<std::string> out;
  for (const auto& [name, linear] : weights.linears)
    if (!linear->adapters.empty()) out.push_back(name);
  return out;
}

LoraConfig lora(int64_t rank, double alpha, std::vector<std::string> targets = {}) {
  LoraConfig config;
  config.rank = rank, config.alpha = alpha, config.target_modules = std::move(targets);
  return config;
}

/// What the layer's adapter adds for x[i] = sin(i + 1).
Tensor addition(const Linear& linear) {
  Tensor x = (at::arange(linear.weight.size(1), at::kDouble) + 1).sin().to(linear.weight.scalar_type()).unsqueeze(0);
  return (apply(linear, x) - apply(linear, x, false)).squeeze(0).detach();
}

void expect_additions(const Weights& weights, const std::map<std::string, Tensor>& expected) {
  EXPECT_EQ(adapted(weights).size(), expected.size());
  for (const auto& [path, delta] : expected) {
    Tensor got = addition(layer(weights, path)).to(at::kDouble);
    EXPECT_LT((got - delta).abs().max().item<double>(), 1e-5) << path;
    EXPECT_GT(delta.abs().max().item<double>(), 0.01) << path;
  }
}

class EachLoraFile : public ::testing::TestWithParam<std::string> {};

TEST_P(EachLoraFile, AddsWhatDiffusersAddsAfterLoadingIt) {
  Weights weights = model(part_of(GetParam()));
  load(weights, GetParam());
  expect_additions(weights, read(GetParam() + ".deltas").tensors);
  for (const auto& [name, value] : weights.tensors) EXPECT_FALSE(value.requires_grad()) << name;
}

TEST_P(EachLoraFile, IsTheSameAdapterAfterWritingAndReadingItAgain) {
  std::string part = part_of(GetParam());
  Weights first = model(part), second = model(part);
  load(first, GetParam());
  load_diffusers_lora(second, diffusers_lora_tensors(first, part), diffusers_lora_metadata(first, lora(2, 8), part),
                      part, "FILE");
  ASSERT_EQ(adapted(second), adapted(first));
  for (const std::string& path : adapted(first)) {
    const Adapter &one = layer(first, path).adapters[0], &other = layer(second, path).adapters[0];
    EXPECT_TRUE(one.a.equal(other.a) && one.b.equal(other.b)) << path;
    EXPECT_NEAR(one.scale, other.scale, 1e-9) << path;
  }
}

TEST_P(EachLoraFile, FillsAdaptersThatTheModelHasInPlace) {
  Weights weights = model(part_of(GetParam()));
  load(weights, GetParam());
  const Adapter& adapter = layer(weights, adapted(weights)[0]).adapters[0];
  Tensor held = adapter.a;
  held.detach().zero_();
  load(weights, GetParam());
  EXPECT_TRUE(held.is_same(adapter.a));
  expect_additions(weights, read(GetParam() + ".deltas").tensors);
}

INSTANTIATE_TEST_SUITE_P(Files, EachLoraFile,
                         ::testing::Values("unet", "unet_no_metadata", "unet_old", "unet_kohya", "transformer",
                                           "transformer_alphas"),
                         [](const auto& info) { return info.param; });

class EachWrittenFile : public ::testing::TestWithParam<std::string> {};

TEST_P(EachWrittenFile, WritesTheTensorsThatDiffusersWrote) {
  Weights weights = model(GetParam());
  load(weights, GetParam());
  auto expected = read(GetParam()).tensors, written = diffusers_lora_tensors(weights, GetParam());
  ASSERT_EQ(written.size(), expected.size());
  for (const auto& [name, value] : expected) EXPECT_TRUE(written.at(name).equal(value)) << name;
}

TEST_P(EachWrittenFile, WritesTheMetadataFieldsThatDiffusersWrote) {
  Weights weights = model(GetParam());
  auto file = read(GetParam());
  load(weights, GetParam());
  auto theirs = nlohmann::json::parse(file.metadata.at("lora_adapter_metadata"));
  LoraConfig config = lora(theirs[GetParam() + ".r"], theirs[GetParam() + ".lora_alpha"]);
  config.rslora = theirs[GetParam() + ".use_rslora"];
  for (const auto& target : theirs[GetParam() + ".target_modules"]) config.target_modules.push_back(target);
  auto ours = nlohmann::json::parse(diffusers_lora_metadata(weights, config, GetParam()).at("lora_adapter_metadata"));
  for (const auto& [name, value] : ours.items()) {
    ASSERT_TRUE(theirs.contains(name)) << name;
    if (name.ends_with("target_modules")) {  // a set to PEFT: in no order
      EXPECT_EQ(value.get<std::set<std::string>>(), theirs[name].get<std::set<std::string>>());
    } else if (!name.ends_with("_pattern")) {  // ours have whole paths
      EXPECT_EQ(value, theirs[name]) << name;
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Parts, EachWrittenFile, ::testing::Values("unet", "transformer"),
                         [](const auto& info) { return info.param; });

TEST(ImageLora, StartsAsTheBaseModelOnTheAttentionLayersThatDiffusersTrains) {
  Weights weights = model("unet");
  add_lora(weights, lora(2, 6), 5);
  std::vector<std::string> expected;
  for (const auto& entry : read("unet.deltas").tensors) expected.push_back(entry.first);
  EXPECT_EQ(adapted(weights), expected);
  for (const std::string& path : expected) {
    const Linear& linear = layer(weights, path);
    EXPECT_EQ(addition(linear).abs().max().item<double>(), 0) << path;
    EXPECT_EQ(linear.adapters[0].scale, 3);
    double bound = 1 / std::sqrt(static_cast<double>(linear.weight.size(1)));
    EXPECT_LE(linear.adapters[0].a.abs().max().item<double>(), bound);
    EXPECT_GT(linear.adapters[0].a.abs().max().item<double>(), bound / 2);
  }
  for (const auto& [name, value] : weights.tensors) EXPECT_FALSE(value.requires_grad()) << name;
}

TEST(ImageLora, AdaptsTheAddedProjectionsOfJointAttentionWhereNothingIsNamed) {
  Weights weights = model("transformer");
  add_lora(weights, lora(2, 2), 5);
  std::vector<std::string> block;
  for (const char* name : {"to_q", "to_k", "to_v", "to_out.0", "add_q_proj", "add_k_proj", "add_v_proj", "to_add_out"})
    block.push_back("transformer_blocks.0.attn." + std::string(name));
  auto got = adapted(weights);
  for (const std::string& path : block) EXPECT_EQ(std::count(got.begin(), got.end(), path), 1) << path;
  EXPECT_EQ(got.size(), 11u);  // and the single block's to_q, to_k, to_v
}

TEST(ImageLora, NamesLayersAsPeftDoes) {
  Weights weights = model("transformer");
  add_lora(weights, lora(2, 2, {"ff.net.0.proj", "transformer_blocks.0.attn.to_k"}), 0);
  EXPECT_EQ(adapted(weights),
            (std::vector<std::string>{"transformer_blocks.0.attn.to_k", "transformer_blocks.0.ff.net.0.proj"}));
}

TEST(ImageLora, RefusesTargetsThatNameNoLayerAndWhatItDoesNotImplement) {
  Weights weights = model("unet");
  EXPECT_EQ(message_of([&] { add_lora(weights, lora(2, 2, {"to_qq"}), 0); }),
            "[lora.target_modules] a target must name linear layers of the model; got 'to_qq'; did you mean 'to_q'?");
  EXPECT_THROW(add_lora(weights, lora(0, 2), 0), UserError);
  EXPECT_TRUE(adapted(weights).empty());
  add_lora(weights, lora(2, 2), 0);
  EXPECT_THROW(add_lora(weights, lora(2, 2), 0), UserError);
  EXPECT_NE(message_of([&] { diffusers_lora_tensors(weights, "unett"); }).find("did you mean 'unet'?"),
            std::string::npos);
  auto source = WeightSource::random(at::kFloat, 0);
  source.linear("head", 2, 2);
  Weights plain = source.finish();
  EXPECT_THROW(add_lora(plain, lora(1, 1), 0), UserError);
  EXPECT_THROW(diffusers_lora_metadata(plain, lora(1, 1), "unet"), UserError);
}

TEST(ImageLora, NamesAllTensorsThatDoNotFitAndChangesNothing) {
  Weights weights = model("unet");
  auto file = read("unet");
  std::string at = "unet.down_blocks.1.attentions.0.transformer_blocks.0.attn1.";
  file.tensors.erase(at + "to_q.lora.up.weight");
  file.tensors[at + "to_k.lora.down.weight"] = at::zeros({2, 9});
  file.tensors[at + "to_z.lora.down.weight"] = at::zeros({2, 8});
  file.tensors[at + "to_v.dora_scale"] = at::zeros({8});
  file.tensors[at + "to_v.alpha"] = at::zeros({});
  file.tensors["text_encoder.q_proj.lora_linear_layer.up.weight"] = at::zeros({2});
  auto message = message_of([&] { load_diffusers_lora(weights, file.tensors, file.metadata, "unet", "FILE"); });
  for (std::string part :
       {"the up (B) tensor beside '" + at + "to_q.lora.down.weight' is missing",
        "'" + at + "to_k.lora.down.weight' must be [2, 8], is [2, 9]",
        std::string("no linear layer 'down_blocks.1.attentions.0.transformer_blocks.0.attn1.to_z'"),
        "'" + at + "to_v.dora_scale' is no LoRA tensor", "'" + at + "to_v.alpha' stands beside metadata"})
    EXPECT_NE(message.find(part), std::string::npos) << part << "\n" << message;
  EXPECT_EQ(message.find("text_encoder"), std::string::npos) << message;
  EXPECT_TRUE(message.starts_with("[FILE] ")) << message;
  EXPECT_TRUE(adapted(weights).empty());
}

TEST(ImageLora, RefusesAFileForOtherLayersOrRanksThanTheModelsAdapters) {
  Weights weights = model("unet");
  add_lora(weights, lora(3, 3, {"to_q", "linear_1"}), 0);
  auto message = message_of([&] { load(weights, "unet"); });
  EXPECT_NE(message.find("attn1.to_q.lora.down.weight' must be [3, 8], is [2, 8]"), std::string::npos) << message;
  EXPECT_NE(message.find("attn1.to_k' has no adapter in the model, but has one in the file"), std::string::npos);
  EXPECT_THROW(load_diffusers_lora(weights, {}, {}, "unet", "FILE"), UserError);
}

TEST(ImageLora, RefusesMetadataThatItCanNotFollow) {
  for (const char* text : {"[]", R"({"unet.lora_alpha": "x"})", R"({"unet.lora_alpha": 4, "unet.use_dora": true})",
                           R"({"unet.lora_alpha": 4, "unet.alpha_pattern": {"(to_q": 3}})"}) {
    Weights weights = model("unet");
    EXPECT_THROW(load_diffusers_lora(weights, read("unet").tensors, {{"lora_adapter_metadata", text}}, "unet", "FILE"),
                 UserError)
        << text;
  }
}

TEST(ImageLora, KeepsAdaptersInTheTypeOfTheBase) {
  Weights weights = model("unet", at::kBFloat16);
  load(weights, "unet");
  for (const auto& [name, value] : diffusers_lora_tensors(weights, "unet"))
    EXPECT_EQ(value.scalar_type(), at::kBFloat16) << name;
}

/// For tests/parity/check_image_lora.py: files of each part, and what their adapters add.
TEST(ImageLora, WritesFilesForDiffusersToRead) {
  testing::TempDir own;
  const char* wanted = std::getenv("RFT_IMAGE_LORA_OUT");
  std::string directory = wanted ? wanted : own.path();
  for (std::string part : {"unet", "transformer"}) {
    Weights weights = model(part);
    LoraConfig config = lora(3, 5);
    config.rslora = part == "transformer";
    add_lora(weights, config, 11);
    std::map<std::string, Tensor> additions;
    for (const auto& [name, linear] : weights.linears) {
      if (linear->adapters.empty()) continue;
      linear->adapters[0].b.detach().copy_(
          at::arange(linear->adapters[0].b.numel()).cos().view_as(linear->adapters[0].b));
      additions[name] = addition(*linear);
    }
    std::string file = directory + "/" + part + ".safetensors";
    save_safetensors(file, diffusers_lora_tensors(weights, part), diffusers_lora_metadata(weights, config, part));
    save_safetensors(directory + "/" + part + ".deltas.safetensors", additions);
    Weights again = model(part);
    auto written = load_safetensors(file);
    load_diffusers_lora(again, written.tensors, written.metadata, part, file);
    expect_additions(again, additions);
  }
}

}  // namespace
}  // namespace rft::image_lora_test
