/// A decoder divided among processes: what the whole one computes, its gradients, its samples, its files.
#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

#include "decoder_fixtures.h"
#include "policy/divided_head.h"
#include "rft/core/error.h"
#include "rft/dist/exchange.h"
#include "rft/policy/lm_sampler.h"
#include "thread_ranks.h"

namespace rft::decoder_parts_test {
namespace {

using namespace testing;

/// Tied and not, with biases, norms of heads and behind the blocks, soft caps, fused and transposed files.
const std::vector<std::string> kDividable = {"qwen2_tied", "qwen3_untied", "llama_biases", "gpt2",
                                             "gemma2",     "gemma3",       "phi3",         "smollm3"};

struct Judged {
  Tensor logp, entropy;
  std::vector<std::pair<std::string, Tensor>> gradients;
};

/// Log-probability and entropy of every token but each row's first, and the gradients of a sum of both.
Judged judged(const Decoder& decoder, const TokenRows& rows, bool checkpoint) {
  for (auto& [name, value] : decoder.weights().named()) value.requires_grad_(true);
  std::vector<int64_t> at, target;
  int64_t start = 0;
  for (const auto& row : rows) {
    for (size_t t = 1; t < row.size(); ++t) at.push_back(start + static_cast<int64_t>(t) - 1), target.push_back(row[t]);
    start += static_cast<int64_t>(row.size());
  }
  Tensor states = decoder.forward(pack(rows), {.checkpoint = checkpoint}).index_select(0, at::tensor(at, at::kLong));
  auto out = token_logp(decoder, states, at::tensor(target, at::kLong), {0.8, true, true});
  Tensor ramp = at::linspace(-1, 1, out.logp.numel(), out.logp.options().requires_grad(false));
  // The states reach the loss past the head too, as a critic's do.
  out.logp.mul(ramp).add(out.entropy.mul(0.3)).add(states.square().mean(1)).sum().backward();
  Judged all{out.logp.detach(), out.entropy.detach(), {}};
  for (const auto& [name, value] : decoder.weights().named()) all.gradients.emplace_back(name, value.grad());
  return all;
}

double relative_difference(const Tensor& a, const Tensor& b) {
  return a.sub(b).abs().max().item<double>() / std::max(b.abs().max().item<double>(), 1e-30);
}

TEST(DividedDecoder, GivesTheWholeOnesNumbersAndGradients) {
  for (const std::string& name : kDividable) {
    SCOPED_TRACE(name);
    TokenRows rows = expected_of(name).rows;
    for (auto [type, tolerance] : {std::pair{at::kDouble, 1e-12}, {at::kFloat, 1e-5}}) {
      Judged whole = judged(load_decoder(name, type), rows, false);
      std::vector<Judged> parts(2);
      ThreadRanks::run(2, [&, type = type, tolerance = tolerance](Communicator& group) {
        Decoder decoder = load_decoder(name, type);
        decoder.divide(group);
        Judged mine = judged(decoder, rows, /*checkpoint=*/name == "qwen3_untied");
        auto divided = decoder.parts();
        for (size_t i = 0; i < mine.gradients.size(); ++i) {
          auto part = divided.find(mine.gradients[i].first);
          Tensor expected = whole.gradients[i].second;
          if (part != divided.end()) expected = part_of(expected, part->second, group.rank(), group.size());
          EXPECT_LT(relative_difference(mine.gradients[i].second, expected), tolerance) << mine.gradients[i].first;
        }
        EXPECT_LT(relative_difference(mine.logp, whole.logp), tolerance);
        EXPECT_LT(relative_difference(mine.entropy, whole.entropy), tolerance);
        parts[static_cast<size_t>(group.rank())] = mine;
      });
      EXPECT_TRUE(parts[0].logp.equal(parts[1].logp) && parts[0].entropy.equal(parts[1].entropy));
    }
  }
}

TEST(DividedDecoder, SamplesTheWholeOnesTokensInEveryProcess) {
  for (const std::string& name : kDividable) {
    SCOPED_TRACE(name);
    TokenRows prompts = expected_of(name).rows;
    SamplerOptions options;
    options.max_new_tokens = 10, options.temperature = 0.9, options.entropy = true, options.batch_size = 3;
    auto whole = sample_rows(load_decoder(name, at::kFloat), nullptr, prompts, 2, 7, false, options);
    std::vector<std::vector<SampledRow>> parts(2);
    ThreadRanks::run(2, [&](Communicator& group) {
      Decoder decoder = load_decoder(name, at::kFloat);
      decoder.divide(group);
      parts[static_cast<size_t>(group.rank())] = sample_rows(decoder, nullptr, prompts, 2, 7, false, options);
    });
    for (size_t i = 0; i < whole.size(); ++i) {
      EXPECT_EQ(parts[0][i].ids, whole[i].ids);
      EXPECT_EQ(parts[0][i].ids, parts[1][i].ids);
      EXPECT_EQ(parts[0][i].logp, parts[1][i].logp);
      for (size_t t = 0; t < whole[i].logp.size(); ++t) EXPECT_NEAR(parts[0][i].logp[t], whole[i].logp[t], 1e-5);
    }
  }
}

TEST(DividedDecoder, IsSavedWholeByTheOneThatKeepsIt) {
  for (const std::string& name : kDividable) {
    auto whole = load_decoder(name, at::kFloat).hugging_face_tensors();
    ThreadRanks::run(2, [&](Communicator& group) {
      Decoder decoder = load_decoder(name, at::kFloat);
      int64_t before = decoder.weights().layers[0].qkv.weight.numel();
      decoder.divide(group);
      EXPECT_EQ(decoder.weights().layers[0].qkv.weight.numel(), before / 2);
      auto saved = decoder.hugging_face_tensors(group.rank() == 0);
      EXPECT_EQ(saved.size(), group.rank() == 0 ? whole.size() : 0);
      for (const auto& [tensor, value] : saved) EXPECT_TRUE(value.equal(whole.at(tensor))) << name << " " << tensor;
    });
  }
}

TEST(DividedDecoder, WhatCantBeDividedIsNamed) {
  std::vector<std::string> said(3);
  auto refusal = [&](const std::string& name, int64_t size) {
    ThreadRanks::run(size, [&](Communicator& group) {
      Decoder decoder = load_decoder(name, at::kFloat);
      std::string message = message_of([&] { decoder.divide(group); });
      if (group.rank() == 0) said[0] = message;
    });
    return said[0];
  };
  EXPECT_EQ(refusal("qwen2_tied", 3), "[train.tensor_parallel] 3 processes can't share 4 attention heads evenly");
  EXPECT_EQ(refusal("qwen2_tied", 4), "[train.tensor_parallel] 4 processes can't share 2 key/value heads evenly");
  EXPECT_NE(refusal("mixtral", 2).find("a mixture of experts can't be divided"), std::string::npos);
  EXPECT_NE(refusal("olmo2", 2).find("norms all heads together (Olmo2ForCausalLM)"), std::string::npos);
}

/// Parts of any number of processes are the whole, in order, whatever is divided.
TEST(WeightPart, PartsAreTheWhole) {
  Tensor whole = at::arange(7 * 10 * 3, at::kFloat).view({7, 10, 3});
  for (const WeightPart& part : {WeightPart{0, {7}}, {1, {4, 6}}, {1, {1, 2, 7}}, {2, {3}}})
    for (int64_t size : {1, 2, 3}) {
      ThreadRanks::run(size, [&](Communicator& group) {
        Tensor mine = part_of(whole, part, group.rank(), size), joined = at::full({whole.numel()}, NAN);
        EXPECT_TRUE(whole_of(mine, part, group).equal(whole));
        int64_t last = -1;
        for (const WeightStretch& at : stretches_of(mine.sizes().vec(), part, group.rank(), size)) {
          EXPECT_GT(at.whole, last);
          last = at.whole;
          EXPECT_TRUE(
              mine.reshape({-1}).narrow(0, at.mine, at.count).equal(whole.reshape({-1}).narrow(0, at.whole, at.count)));
        }
      });
    }
}

}  // namespace
}  // namespace rft::decoder_parts_test
