/// `rft loss`: batches in, losses and gradients out.
#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>

#include "app/loss_batch.h"
#include "rft/io/safetensors.h"
#include "support.h"

namespace rft::loss_test {
namespace {

using nlohmann::json;
using Tensors = std::map<std::string, Tensor>;

const json& golden() {
  static const json data = json::parse(testing::read_file(testing::fixture("parity/data/trl/losses.json")));
  return data;
}

Tensor tensor(const json& list) {
  std::vector<double> flat;
  auto push = [&](const json& x) { flat.push_back(x.is_null() ? std::nan("") : x.get<double>()); };
  for (const auto& row : list) {
    if (!row.is_array())
      push(row);
    else
      for (const auto& x : row) push(x);
  }
  Tensor out = at::tensor(flat, at::kDouble);
  return list.at(0).is_array() ? out.view({static_cast<int64_t>(list.size()), -1}) : out;
}

Tensors golden_batch(at::ScalarType type) {
  Tensors out;
  for (const auto& [name, value] : golden().at("batch").items()) out[name] = tensor(value).to(type);
  out["truncated"] = out["truncated"].to(at::kBool);
  return out;
}

testing::Ran loss_of(const testing::TempDir& dir, const std::string& objective, const Tensors& batch) {
  testing::write_file(dir / "o.yaml", objective);
  save_safetensors(dir / "in.safetensors", batch);
  return testing::rft("loss " + dir / "o.yaml" + " --batch " + dir / "in.safetensors" + " --out " +
                      dir / "out.safetensors");
}

double distance(const Tensor& a, const Tensor& b) { return a.to(at::kDouble).sub(b).abs().max().item<double>(); }

TEST(Loss, ReadsWhatDenoisersMadeOfFinishedSamples) {
  auto given = load_safetensors(testing::fixture("parity/data/forward_losses.safetensors")).tensors;
  Tensor t = given.at("t").view({6, 2, 1, 1, 1});
  auto estimate = [&](const char* velocity) { return given.at("xt").sub(t.mul(given.at(velocity))); };
  Tensors batch{{"logp", given.at("logp")},           {"mask", at::ones({6, 2}, at::kDouble)},
                {"advantage", given.at("advantage")}, {"action", given.at("x0")},
                {"estimate", estimate("v")},          {"old_estimate", estimate("v_old")},
                {"ref_estimate", estimate("v_ref")},  {"estimate_scale", given.at("t")}};
  std::string objective = "{type: diffusion_nft, beta: 0.7, advantage_clip: 4, kl_weight: 0.3}";
  testing::TempDir dir;
  auto ran = loss_of(dir, objective, batch);
  ASSERT_EQ(ran.code, 0) << ran.err;
  auto out = load_safetensors(dir / "out.safetensors").tensors;
  EXPECT_NEAR(out.at("loss").item<double>(), given.at("nft.all").item<double>(), 1e-10);
  EXPECT_LE(distance(out.at("grad.estimate").mul(t).neg(), given.at("grad.nft.all")), 1e-10);
  batch.erase("old_estimate");
  EXPECT_NE(loss_of(dir, objective, batch).err.find("`old_estimate`"), std::string::npos);
  batch["old_estimate"] = at::zeros({6, 3, 2});
  EXPECT_NE(loss_of(dir, objective, batch).err.find("[6, 2, ...]"), std::string::npos);
}

TEST(Loss, WritesLossGradientsAndMetricsAsTrlComputesThem) {
  for (std::string name : {"vespo truncated masked, bonus", "gmpo options"}) {
    const json& one = golden().at("cases").at(name);
    for (auto [type, tolerance] : {std::pair{at::kDouble, 1e-10}, std::pair{at::kFloat, 1e-5}}) {
      SCOPED_TRACE(name);
      testing::TempDir dir;
      auto ran = loss_of(dir, one.at("options").dump(), golden_batch(type));
      ASSERT_EQ(ran.code, 0) << ran.err;
      auto out = load_safetensors(dir / "out.safetensors").tensors;
      EXPECT_EQ(out.at("loss").dim(), 0);
      EXPECT_NEAR(out.at("loss").item<double>(), one.at("loss").get<double>(), tolerance);
      EXPECT_LE(distance(out.at("grad.logp"), tensor(one.at("grad_logp"))), tolerance);
      EXPECT_EQ(out.at("grad.entropy").sizes(), out.at("grad.logp").sizes());
      for (const auto& [metric, value] : one.at("metrics").items())
        EXPECT_NEAR(out.at("metric." + metric).item<double>(), value.get<double>(), std::max(tolerance, 1e-7))
            << metric;
    }
  }
}

TEST(Loss, MakesAdvantagesFromRewardsWhereThereAreNone) {
  Tensors batch = golden_batch(at::kDouble);
  batch.erase("advantage");
  batch["reward"] = at::tensor({1.0, 0.0, 0.5, 0.25, 1.0, 1.0}, at::kDouble);
  batch["group"] = at::tensor({0, 0, 0, 1, 1, 1}, at::kLong);
  testing::TempDir dir;
  auto ran = loss_of(dir, "objective: {type: grpo}\ncredit: {type: leave_one_out, kl_weight: 0}\n", batch);
  ASSERT_EQ(ran.code, 0) << ran.err;
  auto out = load_safetensors(dir / "out.safetensors").tensors;
  EXPECT_NEAR(out.at("metric.reward").item<double>(), 3.75 / 6, 1e-12);

  Tensors given = golden_batch(at::kDouble);
  given["advantage"] = at::tensor({0.75, -0.75, 0.0, -0.75, 0.375, 0.375}, at::kDouble);
  ASSERT_EQ(loss_of(dir, "{type: grpo}", given).code, 0);
  EXPECT_LE(distance(load_safetensors(dir / "out.safetensors").tensors.at("grad.logp"), out.at("grad.logp")), 1e-12);

  ASSERT_EQ(loss_of(dir, "{type: grpo, credit: {type: group_normalized, scale: none}}", batch).code, 0);
  ASSERT_EQ(loss_of(dir, "{type: grpo}", batch).code, 0);
}

TEST(Loss, NamesEverythingThatIsMissingOrWrong) {
  testing::TempDir dir;
  Tensors batch = golden_batch(at::kFloat);
  auto refuse = [&](const std::string& objective, const Tensors& tensors) {
    auto ran = loss_of(dir, objective, tensors);
    EXPECT_EQ(ran.code, 2) << ran.err;
    return ran.err;
  };
  Tensors bare{{"logp", batch["logp"]}};
  std::string message = refuse("{type: grpo, kl_weight: 0.1}", bare);
  for (std::string name : {"mask", "ref_logp", "advantage", "reward", "group"})
    EXPECT_NE(message.find("`" + name + "`"), std::string::npos) << message;
  Tensors wide = batch;
  wide["old_logp"] = at::zeros({6, 4});
  EXPECT_NE(refuse("{type: grpo}", wide).find("old_logp"), std::string::npos);
  Tensors flat = batch;
  flat["logp"] = at::zeros({6});
  EXPECT_NE(refuse("{type: grpo}", flat).find("[B, T]"), std::string::npos);
  Tensors whole = batch;
  whole["logp"] = at::zeros({6, 5}, at::kLong);
  EXPECT_NE(refuse("{type: grpo}", whole).find("float32 or float64"), std::string::npos);
  EXPECT_NE(refuse("{type: gropo}", batch).find("grpo"), std::string::npos);
  EXPECT_NE(refuse("{type: grpo, clip: 1}", batch).find("clip_low"), std::string::npos);
  EXPECT_NE(refuse("objective: {type: grpo}\ncredits: {}\n", batch).find("credit"), std::string::npos);
}

/// The chosen rows are the first half.
Tensor half(const Tensor& x, bool chosen) { return x.chunk(2, 0)[chosen ? 0 : 1].contiguous(); }

TEST(Loss, PreferencesAreAsTrlComputesThem) {
  const json& data = golden().at("preference").at("batch");
  Tensor logp = tensor(data.at("logp")), ref = tensor(data.at("ref_logp")), mask = tensor(data.at("mask"));
  Tensors batch;
  for (bool chosen : {true, false}) {
    std::string name = chosen ? "chosen_" : "rejected_";
    batch[name + "logp"] = half(logp, chosen), batch[name + "mask"] = half(mask, chosen).to(at::kBool);
    batch["ref_" + name + "logp"] = half(ref, chosen);
  }
  for (std::string name : {"dpo ipo options", "dpo aot_unpaired", "dpo mpo"}) {
    SCOPED_TRACE(name);
    const json& one = golden().at("preference").at("cases").at(name);
    testing::TempDir dir;
    auto ran = loss_of(dir, one.at("options").dump(), batch);
    ASSERT_EQ(ran.code, 0) << ran.err;
    auto out = load_safetensors(dir / "out.safetensors").tensors;
    EXPECT_NEAR(out.at("loss").item<double>(), one.at("loss").get<double>(), 1e-10);
    Tensor grad = tensor(one.at("grad_logp")).mul(mask);
    EXPECT_LE(distance(out.at("grad.chosen_logp"), half(grad, true)), 1e-10);
    EXPECT_LE(distance(out.at("grad.rejected_logp"), half(grad, false)), 1e-10);
    for (const auto& [metric, value] : one.at("metrics").items()) {
      if (metric == "entropy") continue;  // it isn't in the file
      EXPECT_NEAR(out.at("metric." + metric).item<double>(), value.get<double>(), 1e-10) << metric;
    }
  }
}

TEST(Loss, VerdictsAreAsTrlComputesThem) {
  const json& data = golden().at("preference").at("batch");
  Tensors batch;
  for (const auto& [name, value] : data.items()) batch[name] = tensor(value);
  batch["label"] = batch["label"].to(at::kBool), batch["kl_mask"] = batch["kl_mask"].to(at::kBool);
  const json& one = golden().at("preference").at("cases").at("kto options");
  testing::TempDir dir;
  auto ran = loss_of(dir, one.at("options").dump(), batch);
  ASSERT_EQ(ran.code, 0) << ran.err;
  auto out = load_safetensors(dir / "out.safetensors").tensors;
  EXPECT_NEAR(out.at("loss").item<double>(), one.at("loss").get<double>(), 1e-10);
  EXPECT_LE(distance(out.at("grad.logp"), tensor(one.at("grad_logp")).mul(batch["mask"])), 1e-10);
  for (const auto& [metric, value] : one.at("metrics").items())
    EXPECT_NEAR(out.at("metric." + metric).item<double>(), value.get<double>(), 1e-10) << metric;

  Tensors few = batch;
  few["kl_logp"] = few["kl_logp"].narrow(0, 0, 3).contiguous();
  ran = loss_of(dir, one.at("options").dump(), few);
  EXPECT_EQ(ran.code, 2);
  EXPECT_NE(ran.err.find("[8, any]"), std::string::npos) << ran.err;
  batch.erase("kl_mask"), batch.erase("label");
  ran = loss_of(dir, one.at("options").dump(), batch);
  EXPECT_EQ(ran.code, 2);
  for (std::string name : {"`kl_mask`", "`label`"}) EXPECT_NE(ran.err.find(name), std::string::npos) << ran.err;
}

TEST(Loss, ACriticLearnsFromGivenReturnsOrFromGae) {
  Tensors batch = golden_batch(at::kDouble);
  batch["value"] = batch["entropy"].mul(0.5), batch["old_value"] = batch["entropy"].mul(0.4);
  batch["returns"] = batch["entropy"].add(1.0);
  testing::TempDir dir;
  auto ran = loss_of(dir, "{type: ppo, value_clip: null}", batch);
  ASSERT_EQ(ran.code, 0) << ran.err;
  auto out = load_safetensors(dir / "out.safetensors").tensors;
  // 0.1 (v - R) m / N, v - R = -H / 2 - 1.
  Tensor mask = batch["mask"], expected = batch["entropy"].mul(-0.5).sub(1).mul(mask).mul(0.1).div(mask.sum());
  EXPECT_LE(distance(out.at("grad.value"), expected), 1e-12);

  Tensors rewarded = batch;
  rewarded.erase("advantage"), rewarded.erase("returns");
  rewarded["reward"] = at::tensor({1.0, 0.0, 0.5, 0.25, 1.0, 1.0}, at::kDouble);
  rewarded["group"] = at::tensor({0, 0, 0, 1, 1, 1}, at::kLong);
  std::string gae = "{type: ppo, value_clip: null, credit: {type: gae, lambda: 1, kl_weight: 0}}";
  ran = loss_of(dir, gae, rewarded);
  ASSERT_EQ(ran.code, 0) << ran.err;
  out = load_safetensors(dir / "out.safetensors").tensors;
  // With gamma and lambda 1 every return is the row's reward.
  expected = batch["value"].sub(rewarded["reward"].unsqueeze(1)).mul(mask).mul(0.1).div(mask.sum());
  EXPECT_LE(distance(out.at("grad.value"), expected), 1e-12);

  batch.erase("returns"), batch.erase("old_value");
  ran = loss_of(dir, "{type: ppo}", batch);
  EXPECT_EQ(ran.code, 2);
  for (std::string name : {"`returns`", "`old_value`"}) EXPECT_NE(ran.err.find(name), std::string::npos) << ran.err;
}

TEST(Loss, RewardsThatCarryAGraphHaveGradients) {
  Tensors batch{{"reward", at::tensor({1.0, 3.0, std::nan(""), 0.5}, at::kDouble)}};
  testing::TempDir dir;
  auto ran = loss_of(dir, "{type: draft}", batch);
  ASSERT_EQ(ran.code, 0) << ran.err;
  auto out = load_safetensors(dir / "out.safetensors").tensors;
  EXPECT_NEAR(out.at("loss").item<double>(), -1.5, 1e-12);
  EXPECT_LE(distance(out.at("grad.reward"), at::tensor({-1.0 / 3, -1.0 / 3, 0.0, -1.0 / 3}, at::kDouble)), 1e-12);

  ran = loss_of(dir, "{type: ctrl_u}", batch);
  EXPECT_EQ(ran.code, 2);
  EXPECT_NE(ran.err.find("`group`"), std::string::npos) << ran.err;
  batch["uncertainty"] = at::tensor({0.0, 1.0, 0.5, 2.0}, at::kDouble);
  ran = loss_of(dir, "{type: ctrl_u}", batch);
  ASSERT_EQ(ran.code, 0) << ran.err;
  out = load_safetensors(dir / "out.safetensors").tensors;
  double loss = (-1 - 3 * std::exp(-1.0) + 1 - 0.5 * std::exp(-2.0) + 2) / 3;
  EXPECT_NEAR(out.at("loss").item<double>(), loss, 1e-12);
  EXPECT_NEAR(out.at("grad.uncertainty")[1].item<double>(), (3 * std::exp(-1.0) + 1) / 3, 1e-12);
  EXPECT_EQ(out.at("grad.uncertainty")[2].item<double>(), 0);

  batch["logp"] = at::full({4, 1}, -2.0, at::kDouble), batch["mask"] = at::ones({4, 1}, at::kBool);
  ASSERT_EQ(loss_of(dir, "{type: ctrl_u}", batch).code, 0);
  EXPECT_NEAR(load_safetensors(dir / "out.safetensors").tensors.at("loss").item<double>(), loss + 2, 1e-12);
}

TEST(LossBatch, PairsBecomeTwiceTheRowsTheChosenOnesFirst) {
  Needs needs;
  needs.data = Needs::Data::pairs;
  needs.ref_logp = true;
  Tensors file{{"chosen_logp", at::full({2, 3}, -1.0)},     {"rejected_logp", at::full({2, 4}, -2.0)},
               {"chosen_mask", at::ones({2, 3})},           {"rejected_mask", at::ones({2, 4}, at::kBool)},
               {"ref_chosen_logp", at::full({2, 3}, -3.0)}, {"ref_rejected_logp", at::full({2, 4}, -4.0)},
               {"margin", at::tensor({0.5f, 0.25f})}};
  auto out = app::read_loss_batch(file, needs, "in");
  EXPECT_EQ(out.now.logp.sizes(), (std::vector<int64_t>{4, 4}));
  EXPECT_EQ(out.batch.mask.sum().item<int64_t>(), 14);
  EXPECT_EQ(out.batch.ref_logp[3][3].item<float>(), -4);
  EXPECT_EQ(out.batch.totals.rows, 4);
  EXPECT_EQ(out.batch.extra.tensor("margin").size(0), 4);
  ASSERT_EQ(out.leaves.size(), 2u);
  EXPECT_EQ(out.leaves[1].first, "rejected_logp");

  Tensors scores{{"chosen_score", at::ones({2})}, {"rejected_score", at::zeros({2})}};
  needs.ref_logp = false, needs.score = true;
  EXPECT_EQ(app::read_loss_batch(scores, needs, "in").now.score.size(0), 4);
  file.erase("ref_rejected_logp");
  needs.ref_logp = true, needs.score = false;
  auto message = testing::message_of([&] { app::read_loss_batch(file, needs, "in"); });
  EXPECT_NE(message.find("`ref_rejected_logp`"), std::string::npos);
}

}  // namespace
}  // namespace rft::loss_test
