// The policy of encoder-decoder models; fixtures by tests/parity/make_seq2seq.py and make_seq2seq_families.py.
#include "rft/policy/seq2seq_lm.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

#include <filesystem>
#include <nlohmann/json.hpp>

#include "rft/core/config.h"
#include "rft/core/extra.h"
#include "rft/io/hf_directory.h"
#include "rft/io/rows.h"
#include "rft/policy/seq2seq_sampler.h"
#include "support.h"

namespace rft::seq2seq_lm_test {
namespace {

using nlohmann::json;
using testing::message_of;

std::string directory_of(const std::string& name) { return testing::fixture("parity/data/seq2seq/" + name); }

std::unique_ptr<Seq2SeqLm> policy_of(const std::string& name, const std::string& rollout = "{max_new_tokens: 24}",
                                     const std::string& dtype = "float32") {
  auto policy = std::make_unique<Seq2SeqLm>(Seq2SeqLm::Options{.path = directory_of(name), .dtype = dtype});
  Config block = Config::parse(rollout, "rollout");
  OptionReader reader(block);
  policy->visit_rollout(reader);
  return policy;
}

json cases_of(const std::string& name) {
  return json::parse(testing::read_file(directory_of(name) + "/cases.json")).at("rows");
}

Rows prompts_of_cases(const std::string& name) {
  std::vector<std::string> lines;
  for (const auto& row : cases_of(name)) lines.push_back(json{{"prompt", row.at("prompt")}}.dump());
  return Rows::parse(lines, "rows");
}

std::vector<std::vector<int64_t>> ids_of(const Experience& batch) {
  std::vector<std::vector<int64_t>> out;
  for (int64_t b = 0; b < batch.action.size(0); ++b) {
    const Tensor row = batch.action[b].masked_select(batch.mask[b]);
    out.emplace_back(row.const_data_ptr<int64_t>(), row.const_data_ptr<int64_t>() + row.numel());
  }
  return out;
}

Needs with_entropy() {
  Needs needs;
  needs.entropy = true;
  return needs;
}

class Seq2SeqPolicy : public ::testing::TestWithParam<const char*> {};

TEST_P(Seq2SeqPolicy, GreedyGenerationsAreTransformers) {
  for (std::string key : {"greedy", "penalised"}) {
    auto policy = policy_of(GetParam(),
                            key == "greedy" ? "{max_new_tokens: 24}" : "{max_new_tokens: 24, repetition_penalty: 1.4}");
    const Experience contexts = policy->contexts(prompts_of_cases(GetParam()));
    for (bool asked : {true, false}) {
      if (!asked)
        policy = policy_of(GetParam(), "{max_new_tokens: 24, temperature: 0, repetition_penalty: " +
                                           std::string(key == "greedy" ? "1" : "1.4") + "}");
      const auto ids = ids_of(policy->sample(contexts, {.greedy = asked}));
      const json cases = cases_of(GetParam());
      for (size_t i = 0; i < ids.size(); ++i) {
        auto wanted = cases[i].at(key).get<std::vector<int64_t>>();
        if (policy->first_id()) {  // which the policy does not decide
          EXPECT_EQ(wanted.front(), *policy->first_id());
          wanted.erase(wanted.begin());
        }
        EXPECT_EQ(ids[i], wanted) << key << " " << i;
      }
    }
  }
}

TEST_P(Seq2SeqPolicy, TheJudgeGivesTheSamplersLogProbabilities) {
  for (std::string rollout : {"{max_new_tokens: 40}", "{max_new_tokens: 20, temperature: 0.6, top_p: 0.8, top_k: 9}"}) {
    // The weights of the families' fixtures are so far from usual ones that float32's rounding shows.
    auto policy = policy_of(GetParam(), rollout, GetParam()[0] == 'v' ? "float32" : "float64");
    const Experience drawn =
        policy->sample(policy->contexts(prompts_of_cases(GetParam())), {.group_size = 4, .seed = 3});
    const at::NoGradGuard no_grad;
    const Evaluation now = policy->evaluate(drawn, with_entropy());
    EXPECT_LE(now.logp.sub(drawn.logp).mul(drawn.mask).abs().max().item<double>(), 1e-5);
    EXPECT_GE(now.entropy.min().item<double>(), 0);
    EXPECT_TRUE(policy->ref_logp(drawn, {}).equal(now.logp));
    EXPECT_EQ(drawn.group.max().item<int64_t>(), 4);
    const Tensor ended = drawn.extra.tensor(extra::truncated);
    EXPECT_TRUE(ended.any().item<bool>());
  }
}

TEST_P(Seq2SeqPolicy, RowsAreJudgedTheSameInAnyBatch) {
  auto policy = policy_of(GetParam(), "{max_new_tokens: 9}", "float64");
  const Experience drawn = policy->sample(policy->contexts(prompts_of_cases(GetParam())), {.group_size = 3, .seed = 4});
  const at::NoGradGuard no_grad;
  const Evaluation whole = policy->evaluate(drawn, with_entropy());
  for (int64_t b = 0; b < drawn.action.size(0); ++b) {
    const Evaluation one = policy->evaluate(drawn.select(at::tensor({b})), with_entropy());
    EXPECT_LE(one.logp[0].sub(whole.logp[b]).abs().max().item<double>(), 1e-12);
    EXPECT_LE(one.entropy[0].sub(whole.entropy[b]).abs().max().item<double>(), 1e-12);
  }
  const Experience mixed = drawn.select(at::tensor({0, 5, 1, 14, 2}));  // neighbours with other prompts
  EXPECT_LE(policy->evaluate(mixed, {}).logp[2].sub(whole.logp[1]).abs().max().item<double>(), 1e-12);
  Experience nothing = drawn.select(at::tensor({0, 1}));
  nothing.mask = at::zeros_like(nothing.mask);
  EXPECT_EQ(policy->evaluate(nothing, with_entropy()).logp.abs().max().item<double>(), 0);
}

TEST_P(Seq2SeqPolicy, DrawsDependOnSeedRowAndPositionAlone) {
  auto policy = policy_of(GetParam());
  const Experience contexts = policy->contexts(prompts_of_cases(GetParam()));
  SamplerOptions options;
  options.max_new_tokens = 30, options.eos_ids = policy->eos_ids();
  std::vector<std::vector<int64_t>> prompts;
  for (const auto& row : cases_of(GetParam())) prompts.push_back(row.at("prompt_ids").get<std::vector<int64_t>>());
  auto drawn = [&](int64_t batch) {
    options.batch_size = batch;
    std::vector<std::vector<int64_t>> out;
    for (const auto& row : sample_rows(policy->model(), nullptr, prompts, 4, 7, false, options)) out.push_back(row.ids);
    return out;
  };
  const auto whole = drawn(0);
  EXPECT_EQ(whole.size(), 20u);
  for (int64_t batch : {1, 3, 9}) EXPECT_EQ(drawn(batch), whole) << batch;
  options.first_row = 8, prompts = {prompts[2], prompts[3]};
  EXPECT_EQ(drawn(0), decltype(whole)(whole.begin() + 8, whole.begin() + 16));
}

TEST_P(Seq2SeqPolicy, WhatIsSavedIsWhatWasRead) {
  auto policy = policy_of(GetParam());
  testing::TempDir dir;
  policy->save(dir.path());
  const auto was = load_hf_tensors(directory_of(GetParam())), is = load_hf_tensors(dir.path());
  ASSERT_EQ(was.size(), is.size());
  for (const auto& [name, value] : was) EXPECT_TRUE(is.at(name).equal(value)) << name;
  EXPECT_EQ(testing::read_file(dir / "config.json"), testing::read_file(directory_of(GetParam()) + "/config.json"));
  EXPECT_TRUE(std::filesystem::exists(dir / "tokenizer.json"));
  {
    const at::NoGradGuard no_grad;
    for (auto& parameter : policy->parameters()) parameter.value.add_(1);
  }
  policy->load(dir.path());
  for (auto& parameter : policy->parameters()) EXPECT_TRUE(parameter.value.equal(was.at(parameter.name)));
}

TEST_P(Seq2SeqPolicy, TextsAreReadAsTransformersReadsThem) {
  auto policy = policy_of(GetParam());
  for (const auto& row : cases_of(GetParam())) {
    const Rows rows = Rows::parse({json{{"prompt", row.at("prompt")}, {"completion", row.at("prompt")}}.dump()});
    EXPECT_EQ(json(policy->prompt_row(rows, 0).prompt), row.at("prompt_ids"));
    EXPECT_EQ(json(policy->completion_row(rows, 0, true).completion), row.value("answer_ids", row.at("prompt_ids")));
  }
}

INSTANTIATE_TEST_SUITE_P(All, Seq2SeqPolicy,
                         ::testing::Values("v1_0", "v1_1", "mt5", "umt5", "bart", "mbart", "pegasus"));

TEST(Seq2SeqLm, RowsAreReadAndBadOnesNamed) {
  auto policy = policy_of("v1_1");
  const auto& words = policy->tokenizer();
  const auto read = policy->demonstrations(Rows::parse({R"({"prompt": "a red fox", "completion": "the sea", "x": "y"})",
                                                        R"({"input_ids": [5, 6, 1, 7, 8], "prompt_length": 3})"}));
  EXPECT_EQ(read.context.tensor("prompt_ids")[0].min().item<int64_t>(), 1);  // the tokenizer adds </s>
  auto answer = words.encode("the sea", false);
  answer.push_back(1);
  EXPECT_EQ(ids_of(read)[0], answer);
  EXPECT_EQ(ids_of(read)[1], (std::vector<int64_t>{7, 8}));
  EXPECT_TRUE(read.context.tensor("prompt_ids")[1].narrow(0, 0, 3).equal(at::tensor({5, 6, 1}, at::kLong)));
  EXPECT_EQ(read.context.text("x")[0], "y");
  const auto pairs = policy->pairs(Rows::parse({R"({"prompt": "a fox", "chosen": "the sea", "rejected": "night"})"}));
  EXPECT_EQ(ids_of(pairs)[0], answer);
  EXPECT_TRUE(pairs.group.equal(at::zeros({2}, at::kLong)));
  auto refused = [&](const std::string& row) {
    return message_of([&] { policy->demonstrations(Rows::parse({row}, "rows")); });
  };
  EXPECT_NE(refused(R"({"messages": [{"role": "user", "content": "x"}]})").find("rows:1"), std::string::npos);
  EXPECT_NE(refused(R"({"input_ids": [1, 70], "prompt_length": 1})").find("0 .. 69"), std::string::npos);
  EXPECT_NE(refused(R"({"input_ids": [1, 2], "prompt_length": 2})").find("1 .. 1"), std::string::npos);
}

TEST(Seq2SeqLm, WhatEveryAnswerBeginsWithIsNoDecision) {
  auto policy = policy_of("bart");
  ASSERT_EQ(policy->first_id(), 0);
  const Experience drawn = policy->sample(policy->contexts(prompts_of_cases("bart")), {.group_size = 2, .seed = 1});
  EXPECT_FALSE(drawn.mask.select(1, 0).any().item<bool>());
  EXPECT_EQ(drawn.action.select(1, 0).abs().max().item<int64_t>(), 0);
  EXPECT_EQ(drawn.logp.select(1, 0).abs().max().item<double>(), 0);
  // A demonstration's is learned, as transformers does.
  const auto shown = policy->demonstrations(Rows::parse({R"({"prompt": "a red fox", "completion": "the sea"})"}));
  EXPECT_EQ(shown.action[0][0].item<int64_t>(), 0);
  EXPECT_TRUE(shown.mask[0][0].item<bool>());
}

TEST(Seq2SeqLm, ACriticIsAHeadOnItsStatesOrOnACopys) {
  for (std::string critic : {"head", "model"}) {
    Seq2SeqLm policy(Seq2SeqLm::Options{.path = directory_of("bart"), .critic = critic, .dtype = "float64"});
    Needs needs;
    needs.value = true;
    policy.prepare(needs, 1);
    Experience batch = policy.demonstrations(Rows::parse({R"({"prompt": "a red fox", "completion": "the sea"})"}));
    const Evaluation now = policy.evaluate(batch, needs);
    EXPECT_EQ(now.value.sizes(), batch.mask.sizes());
    now.value.sum().backward();
    for (const auto& parameter : policy.parameters()) {
      const bool reached = parameter.value.grad().defined() && parameter.value.grad().abs().max().item<double>() > 0;
      if (parameter.group == "critic")
        EXPECT_TRUE(reached || parameter.name.find("k_proj.bias") != std::string::npos) << parameter.name;
      if (critic == "model" && parameter.group != "critic") EXPECT_FALSE(reached) << parameter.name;
    }
    testing::TempDir dir;
    policy.save(dir.path());
    {
      const at::NoGradGuard no_grad;
      for (auto& parameter : policy.parameters()) parameter.value.mul_(2);
    }
    policy.load(dir.path());
    EXPECT_TRUE(policy.evaluate(batch, needs).value.equal(now.value));
  }
}

TEST(Seq2SeqLm, StopTextsEndARowAndUnknownIdsHaveNoText) {
  auto policy = policy_of("v1_1");
  const Experience greedy = policy->sample(policy->contexts(prompts_of_cases("v1_1")), {.greedy = true});
  const auto& texts = greedy.context.text(extra::completion);
  bool unknown = false;
  for (const auto& row : ids_of(greedy))
    for (int64_t id : row) unknown |= id >= policy->tokenizer().size();
  EXPECT_TRUE(unknown);  // the model has 70 ids, the tokenizer 67
  SamplerOptions options;
  options.max_new_tokens = 24, options.eos_ids = policy->eos_ids(), options.stop = {texts[0].substr(2, 3)};
  const auto prompt = cases_of("v1_1")[0].at("prompt_ids").get<std::vector<int64_t>>();
  const auto row = sample_rows(policy->model(), &policy->tokenizer(), {prompt}, 1, 0, true, options)[0];
  EXPECT_EQ(row.stop, options.stop[0]);
  EXPECT_LT(row.ids.size(), ids_of(greedy)[0].size());
}

TEST(Seq2SeqLm, WhatItCannotDoIsSaid) {
  EXPECT_NE(message_of([] {
              policy_of("bart")->contexts(Rows::parse({json{{"prompt", std::string(99, 'x')}}.dump()}));
            }).find("at most 48"),
            std::string::npos);
  auto policy = policy_of("bart", "{max_new_tokens: 49}");
  EXPECT_NE(message_of([&] { policy->sample(policy->contexts(prompts_of_cases("bart")), {}); }).find("48 positions"),
            std::string::npos);
  EXPECT_NE(message_of([] {
              Seq2SeqLm(Seq2SeqLm::Options{.path = testing::fixture("parity/data/t5/gated")});
            }).find("T5EncoderModel"),
            std::string::npos);
  EXPECT_NE(message_of([] { Seq2SeqLm(Seq2SeqLm::Options{.path = "nowhere"}); }).find("nowhere"), std::string::npos);
  EXPECT_FALSE(is_seq2seq_directory(testing::fixture("parity/data/t5/gated")));
  EXPECT_TRUE(is_seq2seq_directory(directory_of("v1_0")));
}

}  // namespace
}  // namespace rft::seq2seq_lm_test
