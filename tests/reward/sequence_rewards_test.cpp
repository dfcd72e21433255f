// Rewards on sequences of tokens, and on mixtures of them.
#include "rft/reward/sequence_rewards.h"

#include <ATen/ATen.h>

#include "rft/core/extra.h"
#include "rft/io/safetensors.h"
#include "support.h"

namespace rft::sequence_rewards_test {
namespace {

const std::string kEsm = testing::fixture("parity/data/esm/masked_lm");  // <pad> A C G T <mask>

MotifReward motif(const std::string& motifs) {
  return MotifReward(
      read_options<MotifReward::Options>(Config::parse("{motifs: " + motifs + ", vocabulary: " + kEsm + "}")));
}

Experience tokens(const std::vector<int64_t>& ids, int64_t rows) {
  Experience out;
  out.action = at::tensor(ids, at::kLong).view({rows, -1});
  return out;
}

TEST(Motif, CountsOccurrences) {
  Experience batch = tokens({1, 2, 1, 2, 1, 3, 3, 3, 3, 3}, 2);  // ACACA, GGGGG
  auto count = [&](const std::string& motifs) { return motif(motifs).score(batch).value; };
  EXPECT_TRUE(count("[ACA]").equal(at::tensor({2.0F, 0.0F}))) << "overlaps count";
  EXPECT_TRUE(count("[GG, A]").equal(at::tensor({3.0F, 4.0F})));
  EXPECT_TRUE(count("['A?A']").equal(at::tensor({2.0F, 0.0F})));
  EXPECT_TRUE(count("[ACACAC]").equal(at::tensor({0.0F, 0.0F}))) << "longer than the sequence";
}

TEST(Motif, IsAPolynomialOfTheShares) {
  Experience batch = tokens({1, 2, 1, 2, 1, 2}, 2);
  Tensor x = at::rand({2, 3, 6}, at::kDouble).softmax(2).requires_grad_();
  batch.extra.set(extra::one_hot, x);
  Tensor value = motif("[AC]").score(batch).value;
  Tensor a = x.select(2, 1), c = x.select(2, 2);
  Tensor expected = a.select(1, 0).mul(c.select(1, 1)).add(a.select(1, 1).mul(c.select(1, 2)));
  EXPECT_LE(value.sub(expected).abs().max().item<double>(), 1e-15);
  value.sum().backward();
  EXPECT_LE(x.grad().select(2, 1).select(1, 0).sub(c.select(1, 1)).abs().max().item<double>(), 1e-15);
}

TEST(Motif, BadInputIsNamed) {
  auto refused = [](const std::string& motifs) { return testing::message_of([&] { motif(motifs); }); };
  EXPECT_NE(refused("[AXA]").find("'X'"), std::string::npos);
  EXPECT_NE(refused("['??']").find("motif"), std::string::npos);
  EXPECT_NE(refused("[]").find("at least one"), std::string::npos);
  Experience other = tokens({9, 9}, 1), none;
  none.action = at::zeros({1, 2, 3});
  EXPECT_NE(testing::message_of<RunError>([&] { motif("[A]").score(other); }).find("vocabulary"), std::string::npos);
  EXPECT_NE(testing::message_of<RunError>([&] { motif("[A]").score(none); }).find("sequences"), std::string::npos);
}

SequenceClassifierReward classifier(const std::string& options) {
  std::string path = testing::fixture("parity/data/esm/classifier");
  return SequenceClassifierReward(
      read_options<SequenceClassifierReward::Options>(Config::parse("{path: " + path + ", " + options + "}")));
}

TEST(SequenceClassifier, SaysWhatTransformersDoes) {
  auto given = load_safetensors(testing::fixture("parity/data/esm/classifier/case.safetensors")).tensors;
  Experience batch;
  batch.action = given.at("ids");
  auto value = [&](const std::string& score) {
    return classifier("target: LABEL_1, score: " + score).score(batch).value;
  };
  Tensor logits = given.at("logits");
  EXPECT_LE(value("logit").sub(logits.select(1, 1)).abs().max().item<double>(), 2e-5);
  EXPECT_LE(value("probability").sub(logits.softmax(1).select(1, 1)).abs().max().item<double>(), 2e-5);
  Tensor soft = given.at("soft").clone().requires_grad_();
  batch.extra.set(extra::one_hot, soft);
  value("log_probability").sum().backward();
  EXPECT_LE(soft.grad().sub(given.at("grad.soft")).abs().max().item<double>(), 1e-4);
  EXPECT_NE(testing::message_of([] { classifier("target: LABEL_4, score: logit"); }).find("LABEL_"), std::string::npos);
  EXPECT_NE(testing::message_of([] { classifier("target: LABEL_1"); }).find("score"), std::string::npos);
}

}  // namespace
}  // namespace rft::sequence_rewards_test
