/// Values, gradients and metrics against TRL 1.16 (tests/parity/make_trl_losses.py).
#include <ATen/ATen.h>
#include <torch/csrc/autograd/autograd.h>

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>

#include "rft/core/extra.h"
#include "rft/objective/dpo.h"
#include "rft/objective/gmpo.h"
#include "rft/objective/grpo.h"
#include "rft/objective/kto.h"
#include "rft/objective/rloo.h"
#include "rft/objective/sft.h"
#include "support.h"

namespace rft::trl_test {
namespace {

using nlohmann::json;

const json& golden() {
  static const json data = json::parse(testing::read_file(testing::fixture("parity/data/trl/losses.json")));
  return data;
}

/// A list of (lists of) numbers; null is NaN.
Tensor tensor(const json& list, at::ScalarType type = at::kDouble) {
  std::vector<double> flat;
  std::vector<int64_t> shape{static_cast<int64_t>(list.size())};
  bool nested = list.at(0).is_array();
  if (nested) shape.push_back(static_cast<int64_t>(list.at(0).size()));
  auto push = [&](const json& x) { flat.push_back(x.is_null() ? std::nan("") : x.get<double>()); };
  for (const auto& row : list) {
    if (!nested)
      push(row);
    else
      for (const auto& x : row) push(x);
  }
  return at::tensor(flat, at::kDouble).view(shape).to(type);
}

template <class T>
std::unique_ptr<Objective> make(const Config& block) {
  return std::make_unique<T>(read_options<typename T::Options>(block, {"type"}));
}

std::unique_ptr<Objective> make(const json& options) {
  Config block = Config::parse(options.dump());
  std::string type = options.at("type");
  if (type == "gmpo") return make<Gmpo>(block);
  if (type == "rloo") return make<Rloo>(block);
  if (type == "dpo") return make<Dpo>(block);
  if (type == "kto") return make<Kto>(block);
  return make<Grpo>(block);
}

Experience batch_of(const json& data, at::ScalarType type) {
  Experience batch;
  batch.mask = tensor(data.at("mask"), at::kBool);
  batch.old_logp = tensor(data.at("old_logp"), type);
  batch.ref_logp = tensor(data.at("ref_logp"), type);
  batch.logp = tensor(data.at("sampling_logp"), type);
  batch.advantage = tensor(data.at("advantage"), type).unsqueeze(1).expand(batch.mask.sizes());
  batch.extra.set(extra::truncated, tensor(data.at("truncated"), at::kBool));
  batch.fill_totals();
  return batch;
}

void expect_close(const Tensor& got, const json& expected, double tolerance) {
  Tensor difference = got.to(at::kDouble).sub(tensor(expected)).abs();
  EXPECT_LE(difference.max().item<double>(), tolerance);
}

void check_case(const json& one, at::ScalarType type, double tolerance) {
  const json& data = golden().at("batch");
  Experience batch = batch_of(data, type);
  if (one.contains("no_old_logp")) batch.old_logp = Tensor();
  if (one.contains("totals")) batch.totals = {one["totals"]["rows"], one["totals"]["tokens"]};
  Evaluation now;
  now.logp = tensor(data.at("logp"), type).set_requires_grad(true);
  now.entropy = tensor(data.at("entropy"), type).set_requires_grad(true);
  auto objective = make(one.at("options"));
  Loss loss = objective->loss(now, batch);
  EXPECT_NEAR(loss.total().item<double>(), one.at("loss").get<double>(), tolerance);
  auto grads = torch::autograd::grad({loss.total()}, {now.logp, now.entropy}, {}, false, false, true);
  expect_close(grads[0], one.at("grad_logp"), tolerance);
  EXPECT_EQ(grads[1].defined(), one.contains("grad_entropy"));
  if (grads[1].defined()) expect_close(grads[1], one.at("grad_entropy"), tolerance);
  for (const auto& [name, value] : one.at("metrics").items()) {
    ASSERT_TRUE(loss.metrics.has(name)) << name;
    // TRL counts clipped tokens in float32.
    EXPECT_NEAR(loss.metrics.mean(name), value.get<double>(), std::max(tolerance, 1e-7)) << name;
  }
}

TEST(Trl, EveryLossEqualsItsOwnInFloat64) {
  ASSERT_GT(golden().at("cases").size(), 70u);
  for (const auto& [name, one] : golden().at("cases").items()) {
    SCOPED_TRACE(name);
    check_case(one, at::kDouble, 1e-10);
  }
}

TEST(Trl, EveryLossEqualsItsOwnInFloat32) {
  for (const auto& [name, one] : golden().at("cases").items()) {
    SCOPED_TRACE(name);
    // exp() of a float32 log-ratio is where the precision goes; VESPO multiplies it by up to 9.
    check_case(one, at::kFloat, 1e-5);
  }
}

/// Preferences and verdicts: the same rows, read as pairs or one by one.
void check_preference(const json& one, at::ScalarType type, double tolerance) {
  const json& data = golden().at("preference").at("batch");
  Experience batch;
  batch.mask = tensor(data.at("mask"), at::kBool);
  batch.ref_logp = tensor(data.at("ref_logp"), type);
  for (const char* name : {extra::label, extra::kl_logp, extra::kl_ref_logp, extra::kl_mask})
    batch.extra.set(name, tensor(data.at(name), type));
  batch.fill_totals();
  Evaluation now;
  now.logp = tensor(data.at("logp"), type).set_requires_grad(true);
  now.entropy = tensor(data.at("entropy"), type);
  Loss loss = make(one.at("options"))->loss(now, batch);
  EXPECT_NEAR(loss.total().item<double>(), one.at("loss").get<double>(), tolerance);
  Tensor grad = torch::autograd::grad({loss.total()}, {now.logp})[0].to(at::kDouble);
  // TRL's model gives 0 where masked, and the stand-in's gradient there means nothing.
  Tensor difference = grad.sub(tensor(one.at("grad_logp")).mul(batch.mask)).abs();
  EXPECT_LE(difference.max().item<double>(), tolerance);
  for (const auto& [name, value] : one.at("metrics").items()) {
    ASSERT_TRUE(loss.metrics.has(name)) << name;
    EXPECT_NEAR(loss.metrics.mean(name), value.get<double>(), std::max(tolerance, 1e-10)) << name;
  }
}

TEST(Trl, EveryPreferenceLossEqualsItsOwn) {
  const json& cases = golden().at("preference").at("cases");
  ASSERT_GT(cases.size(), 50u);
  for (const auto& [name, one] : cases.items()) {
    SCOPED_TRACE(name);
    // alpha_divergence is float32 in TRL, whatever the model's type.
    check_preference(one, at::kDouble, one.contains("float32") ? 1e-6 : 1e-10);
    check_preference(one, at::kFloat, 2e-5);
  }
}

TEST(Trl, AdaptiveEntropyWeightFollowsItsOwnStepByStep) {
  const json& data = golden().at("batch");
  auto objective = make(golden().at("adaptive").at("options"));
  Experience batch = batch_of(data, at::kDouble);
  for (const auto& step : golden().at("adaptive").at("steps")) {
    Evaluation now;
    now.logp = tensor(data.at("logp"));
    now.entropy = tensor(data.at("entropy")).mul(step.at("entropy_factor").get<double>());
    // The weight passes through a checkpoint every step.
    auto restored = make(golden().at("adaptive").at("options"));
    restored->load_state(objective->state());
    Loss loss = restored->loss(now, batch);
    EXPECT_NEAR(loss.total().item<double>(), step.at("loss").get<double>(), 1e-10);
    restored->stepped(loss.metrics);
    EXPECT_NEAR(restored->state().at("entropy_weight").item<double>(), step.at("entropy_coef_after").get<double>(),
                1e-12);
    objective = std::move(restored);
  }
}

TEST(Trl, SupervisedLossEqualsThatOfTransformers) {
  const json& data = golden().at("sft");
  Evaluation now;
  now.logp = tensor(data.at("logp"));
  Experience batch;
  batch.mask = tensor(data.at("mask"), at::kBool);
  batch.fill_totals();
  // transformers computes it in float32.
  EXPECT_NEAR(Sft({}).loss(now, batch).total().item<double>(), data.at("loss").get<double>(), 1e-6);
  EXPECT_NEAR(Raft({}).loss(now, batch).total().item<double>(), data.at("loss").get<double>(), 1e-6);
}

}  // namespace
}  // namespace rft::trl_test
