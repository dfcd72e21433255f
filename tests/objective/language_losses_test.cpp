/// Values, gradients and metrics against TRL's experimental trainers and verl's formulas
/// (tests/parity/make_language_losses.py), and what every objective must satisfy.
#include <ATen/ATen.h>
#include <torch/csrc/autograd/autograd.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "rft/core/extra.h"
#include "rft/core/registry.h"
#include "rft/objective/a2po.h"
#include "rft/objective/bradley_terry.h"
#include "rft/objective/covariance.h"
#include "rft/objective/cpo.h"
#include "rft/objective/dft.h"
#include "rft/objective/distillation.h"
#include "rft/objective/dro.h"
#include "rft/objective/inverse_q.h"
#include "rft/objective/orpo.h"
#include "rft/objective/reg_grpo.h"
#include "rft/objective/reinforce.h"
#include "rft/objective/sampled_distillation.h"
#include "rft/objective/sft.h"
#include "support.h"
#include "tests/conformance/conformance.h"

namespace rft::language_losses_test {
namespace {

using nlohmann::json;
using testing::case_of;
using testing::make;

const json& golden() {
  static const json data = json::parse(testing::read_file(testing::fixture("parity/data/trl/language_losses.json")));
  return data;
}

Tensor numbers(const json& list, at::ScalarType type = at::kDouble) {
  std::vector<double> flat;
  for (const auto& row : list)
    if (row.is_array())
      for (const auto& x : row) flat.push_back(x.get<double>());
    else
      flat.push_back(row.get<double>());
  Tensor out = at::tensor(flat, at::kDouble).to(type);
  return list.at(0).is_array() ? out.view({static_cast<int64_t>(list.size()), -1}) : out;
}

struct Input {
  Evaluation now;
  Experience batch;
  Tensor leaf;
};

Input input_of(const json& one, at::ScalarType type) {
  const json& data = golden().at("batch");
  Input out;
  auto column = [&](const char* name) { return numbers(data.at(name), type); };
  bool scores = one.at("options").at("type") == "bradley_terry";
  out.batch.mask = numbers(data.at("mask"), at::kBool);
  out.batch.old_logp = column("old_logp"), out.batch.ref_logp = column("ref_logp");
  Tensor advantage =
      one.at("options").at("type") == "a2po" ? column("reward").sub(column("optimal_value")) : column("advantage");
  out.batch.advantage = advantage.unsqueeze(1).expand(out.batch.mask.sizes());
  if (one.value("with_margin", false)) out.batch.extra.set(extra::margin, column("margin").repeat({2}));
  out.batch.fill_totals();
  out.leaf = column(scores ? "score" : "logp").set_requires_grad(true);
  (scores ? out.now.score : out.now.logp) = out.leaf;
  return out;
}

TEST(LanguageLosses, EqualThoseOfTrlAndVerl) {
  register_builtins();
  ASSERT_GT(golden().at("cases").size(), 18u);
  for (const auto& [name, one] : golden().at("cases").items())
    for (auto type : {at::kDouble, at::kFloat}) {
      SCOPED_TRACE(name);
      bool single = type == at::kFloat || one.at("options").at("type") == "orpo";  // TRL's odds are float32
      double tolerance = single ? 1e-5 : 1e-10;
      Input input = input_of(one, type);
      auto objective = registry<Objective>().make(Config::parse(one.at("options").dump()));
      Loss loss = objective->loss(input.now, input.batch);
      EXPECT_NEAR(loss.total().item<double>(), one.at("loss").get<double>(), tolerance);
      Tensor grad = torch::autograd::grad({loss.total()}, {input.leaf})[0].to(at::kDouble);
      EXPECT_LE(grad.sub(numbers(one.at("grad"))).abs().max().item<double>(), tolerance);
      for (const auto& [metric, value] : one.at("metrics").items()) {
        ASSERT_TRUE(loss.metrics.has(metric)) << metric;
        EXPECT_NEAR(loss.metrics.mean(metric), value.get<double>(), std::max(tolerance, 1e-6)) << metric;
      }
    }
}

testing::Example scored_pairs() {
  testing::Example out = testing::pairs_example();
  out.now = {};
  out.now.score = at::tensor({0.4, -0.3, 1.7, 1.1, 0.6, -0.9}, at::kDouble);
  out.batch.extra.set(extra::margin, at::tensor({0.1, 0.5, 0.0, 0.1, 0.5, 0.0}, at::kDouble));
  return out;
}

testing::Example diverging() {
  testing::Example out = testing::policy_gradient_example();
  out.now.extra.set(extra::divergence, out.now.entropy.mul(0.7).add(0.1));
  return out;
}

TEST(Conformance, PreferencesWithoutAReference) {
  for (std::string variant : {"sigmoid", "hinge", "ipo", "simpo"})
    for (std::string more : {"", ", alpha: 0.4, nll_weight: 0, label_smoothing: 0.1"})
      testing::check_objective(case_of<Cpo>("{beta: 0.5, variant: " + variant + more + "}", testing::pairs_example));
  testing::check_objective(case_of<Orpo>("{beta: 0.5}", testing::pairs_example));
}

/// Three pairs with gold answers beside them, of one and of three decisions.
testing::Example triples() {
  testing::Example out = testing::pairs_example();
  at::Generator g = at::detail::createCPUGenerator(9);
  Tensor gold = at::randn({3, 5}, g, at::TensorOptions().dtype(at::kDouble)).abs().neg();
  out.now.logp = at::cat({out.now.logp, gold}), out.now.entropy = Tensor();
  Experience& b = out.batch;
  b.mask = at::cat({b.mask, at::arange(5).unsqueeze(0).lt(at::tensor({3, 0, 1}).unsqueeze(1))});
  b.action = Tensor();
  for (Tensor Experience::*column : {&Experience::logp, &Experience::old_logp, &Experience::ref_logp,
                                     &Experience::advantage, &Experience::reward, &Experience::group})
    b.*column = Tensor();
  b.extra = Fields();
  b.extra.set(extra::given, at::arange(9).ge(6));
  b.fill_totals();
  out.permutation = at::tensor({2, 0, 1, 5, 3, 4, 8, 6, 7}, at::kLong);
  out.parts = {at::tensor({1, 4, 7}, at::kLong), at::tensor({0, 2, 3, 5, 6, 8}, at::kLong)};
  return out;
}

TEST(Conformance, PreferencesWithAGoldAnswer) {
  for (std::string variant : {"sigmoid", "hinge", "ipo", "simpo"})
    testing::check_objective(
        case_of<Cpo>("{gold: true, beta: 0.5, nll_weight: 0.7, variant: " + variant + "}", triples));
  EXPECT_NE(testing::message_of([] { make<Cpo>("{gold: true, nll_weight: 0}"); }).find("nll_weight"),
            std::string::npos);
}

/// TPO against TRL's TPOTrainer (tests/parity/make_tpo_losses.py): values, metrics and the gradients of the logits.
TEST(Cpo, WithAGoldAnswerEqualsTrlsTpo) {
  auto data = json::parse(testing::read_file(testing::fixture("parity/data/trl/tpo_losses.json")));
  std::vector<int64_t> flat_ids, flat_mask;
  std::vector<double> flat_logits;
  for (const auto& row : data.at("ids"))
    for (const auto& x : row) flat_ids.push_back(x);
  for (const auto& row : data.at("mask"))
    for (const auto& x : row) flat_mask.push_back(x);
  for (const auto& row : data.at("logits"))
    for (const auto& place : row)
      for (const auto& x : place) flat_logits.push_back(x);
  auto rows = static_cast<int64_t>(data.at("ids").size());
  Tensor target = at::tensor(flat_ids, at::kLong).view({rows, -1}).slice(1, 1);
  Experience batch;
  batch.mask = at::tensor(flat_mask, at::kLong).view({rows, -1}).slice(1, 1).to(at::kBool);
  batch.extra.set(extra::given, at::arange(rows).ge(rows / 3 * 2));
  batch.fill_totals();
  for (const auto& one : data.at("cases")) {
    std::string options;
    for (const auto& [name, value] : one.at("options").items())
      if (name != "type")
        options += (options.empty() ? "{" : ", ") + name + ": " +
                   (value.is_string() ? value.get<std::string>() : value.dump());
    options += "}";
    Tensor logits = at::tensor(flat_logits, at::kDouble).view({rows, target.size(1) + 1, -1}).set_requires_grad(true);
    Evaluation now;
    now.logp = at::log_softmax(logits.slice(1, 0, -1), 2).gather(2, target.unsqueeze(2)).squeeze(2);
    Loss loss = make<Cpo>(options).loss(now, batch);
    EXPECT_NEAR(loss.total().item<double>(), one.at("loss").get<double>(), 1e-12) << options;
    std::vector<double> flat;
    for (const auto& row : one.at("grad"))
      for (const auto& place : row)
        for (const auto& x : place) flat.push_back(x);
    Tensor grad = torch::autograd::grad({loss.total()}, {logits})[0];
    EXPECT_LE(grad.flatten().sub(at::tensor(flat, at::kDouble)).abs().max().item<double>(), 1e-13) << options;
    for (const auto& [name, value] : one.at("metrics").items())  // TRL's accuracies are float32
      EXPECT_NEAR(loss.metrics.mean(name), value.get<double>(), name == "rewards/accuracies" ? 1e-7 : 1e-12) << name;
  }
}

TEST(Conformance, RewardModels) {
  testing::check_objective(case_of<BradleyTerry>("{}", scored_pairs));
  testing::check_objective(case_of<BradleyTerry>("{center_weight: 0.1}", scored_pairs));
}

TEST(Conformance, SupervisedObjectives) {
  testing::check_objective(case_of<Raft>("{kl_weight: 0.1}", testing::policy_gradient_example));
  auto dft = case_of<Dft>("{}", testing::policy_gradient_example);
  dft.differentiable = false;  // each token's weight is held constant
  testing::check_objective(dft);
  auto asft = case_of<Asft>("{kl_weight: 0.3}", diverging);
  asft.differentiable = false;
  testing::check_objective(asft);
  testing::check_objective(case_of<Distillation>("{}", diverging));
}

TEST(Conformance, WholeDistributionsHeldToTheReference) {
  testing::check_objective(case_of<Reinforce>("{divergence_weight: 0.3}", diverging));
  testing::check_objective(case_of<Raft>("{divergence_weight: 0.3}", diverging));
  EXPECT_EQ(make<Raft>("{divergence_weight: 1}").needs().divergence->kind, Divergence::Kind::forward_kl);
  EXPECT_FALSE(make<Reinforce>("{}").needs().divergence);
  auto needs = make<Reinforce>("{divergence_weight: 0.3, divergence: alpha, divergence_mix: 0.3}").needs();
  EXPECT_EQ(needs.divergence->kind, Divergence::Kind::alpha);
  EXPECT_EQ(needs.divergence->mix, 0.3);
  auto refuse = [] { make<Reinforce>("{divergence: alpha, divergence_mix: 1}").needs(); };
  EXPECT_NE(testing::message_of(refuse).find("divergence_mix"), std::string::npos);
}

TEST(Conformance, PolicyGradients) {
  testing::check_objective(case_of<A2po>("{beta: 0.3}", testing::policy_gradient_example));
  for (std::string options : {"{}", "{ratio_level: sequence}", "{anchor: reference, beta: 0.5}"})
    testing::check_objective(case_of<Dro>(options, testing::policy_gradient_example));
  for (std::string options :
       {"{share: 0.2, cov_low: 0.01}", "{variant: kl_cov, share: 0.3}", "{variant: clip_cov, share: 0}"}) {
    auto one = case_of<Covariance>(options, testing::policy_gradient_example);
    one.differentiable = false;  // which tokens are picked is held constant
    testing::check_objective(one);
  }
}

TEST(RegGrpo, IsItsFormulaAndConforms) {
  for (std::string options : {"{}", "{kl_weight: 0.2, eps: 0.1}"}) {
    auto one = case_of<RegGrpo>(options, testing::policy_gradient_example);
    one.differentiable = false;  // what was observed of a group stays while a value is moved: see below
    testing::check_objective(one);
  }
  // DeepVideo-R1 (arXiv:2506.07464), eq. 7 and 8, of one group of three rows of one decision.
  Experience batch;
  batch.mask = at::ones({4, 1}, at::kBool), batch.group = at::tensor({7, 7, 7, 2}, at::kLong);
  batch.advantage = at::tensor({1.0, -0.5, -0.5, 3.0}, at::kDouble).unsqueeze(1);
  batch.old_logp = at::full({4, 1}, -1.0, at::kDouble);
  batch.fill_totals();
  Evaluation now;
  now.logp = at::tensor({-0.7, -1.1, -1.5, -0.2}, at::kDouble).unsqueeze(1);
  double rho[] = {0.3, -0.1, -0.5}, mean = -0.1, deviation = 0.4, sum = 0;
  for (int i = 0; i < 3; ++i) {
    double error = (rho[i] - mean) / (deviation + 1e-4) - (i == 0 ? 1.0 : -0.5);
    sum += error * error;
  }
  auto judged = testing::judge(make<RegGrpo>("{}"), now, batch);
  EXPECT_NEAR(judged.loss, sum / 4, 1e-12);
  EXPECT_EQ(judged.grads[0][3][0].item<double>(), 0) << "a group of one teaches nothing";
  for (int i = 0; i < 3; ++i) {  // through the group's mean and deviation too
    auto moved = [&](double by) {
      Evaluation other = now;
      other.logp = now.logp.clone();
      other.logp[i][0].add_(by);
      return testing::judge(make<RegGrpo>("{}"), other, batch).loss;
    };
    EXPECT_NEAR(judged.grads[0][i][0].item<double>(), (moved(1e-6) - moved(-1e-6)) / 2e-6, 1e-8) << i;
  }
  // On-policy the direction is the policy gradient's.
  now.logp = batch.old_logp.clone();
  auto first = testing::judge(make<RegGrpo>("{}"), now, batch);
  EXPECT_NEAR(first.grads[0][0][0].item<double>(), -2 * 1.0 / 1e-4 / 4, 1e-6);
  auto message = testing::message_of<RunError>([&] {
    auto e = testing::policy_gradient_example();
    Evaluation part = testing::map(e.now, [](const Tensor& x) { return x.narrow(0, 0, 2); });
    make<RegGrpo>("{}").loss(part, e.batch.narrow(0, 2));
  });
  EXPECT_NE(message.find("2 of 6 rows"), std::string::npos);
}

TEST(SampledDistillation, Conforms) {
  for (std::string options : {"{}", "{prefix_weight: 0}"}) {
    auto one = case_of<SampledDistillation>(options, testing::policy_gradient_example);
    testing::check_objective(one);
  }
}

TEST(InverseQ, ConformsAndItsRewardsAreTheTemporalDifferencesOfAnAnswer) {
  testing::check_objective(case_of<InverseQ>("{td_weight: 0.3, gamma: 0.9}", testing::critic_example));
  Evaluation now;
  now.logp = at::tensor({-1.0, 9.0, -0.5}, at::kDouble).unsqueeze(0);
  now.value = at::tensor({2.0, 9.0, 3.0}, at::kDouble).unsqueeze(0);
  Experience batch;
  batch.mask = at::tensor({1, 0, 1}).to(at::kBool).unsqueeze(0);  // tool output between two decisions
  batch.fill_totals();
  auto judged = testing::judge(make<InverseQ>("{td_weight: 0.5, gamma: 0.5}"), now, batch);
  double first = 2.0 - 1.0 - 0.5 * 3.0, last = 3.0 - 0.5;
  EXPECT_NEAR(judged.loss, (1.0 + 0.5) / 2 + 0.5 * (first * first + last * last) / 2, 1e-14);
  EXPECT_NEAR(judged.metrics.mean("implied_reward"), (first + last) / 2, 1e-14);
}

TEST(Orpo, AnswersThatAreCertainGiveFiniteNumbers) {
  Experience batch;
  batch.mask = at::ones({4, 2}, at::kBool);
  batch.mask[3].fill_(false);
  batch.fill_totals();
  Evaluation now;
  now.logp = at::tensor({0.0, 0.0, -1.0, -2.0, 0.0, 0.0, -1e4, -1e4}, at::kDouble).view({4, 2});
  auto judged = testing::judge(make<Orpo>("{}"), now, batch);
  EXPECT_TRUE(std::isfinite(judged.loss));
  EXPECT_TRUE(judged.grads[0].isfinite().all().item<bool>());
}

TEST(Covariance, PartOfABatchIsRefusedWithoutTheWhole) {
  auto e = testing::policy_gradient_example();
  Evaluation now = testing::map(e.now, [](const Tensor& x) { return x.narrow(0, 0, 2); });
  auto message = testing::message_of<RunError>([&] { make<Covariance>("{}").loss(now, e.batch.narrow(0, 2)); });
  EXPECT_NE(message.find("2 of 6 rows"), std::string::npos);
  EXPECT_NE(testing::message_of([] { make<Covariance>("{cov_low: 6}"); }).find("cov_high"), std::string::npos);
}

TEST(Regularizers, TheKlWeightFollowsItsTargetStepByStep) {
  auto objective = make<Reinforce>("{kl_weight: 0.2, kl_target: 0.5, kl_horizon: 10}");
  auto weight = [&] { return objective.state().at("kl_weight").item<double>(); };
  auto step = [&](double kl) {
    Metrics metrics;
    metrics.add("kl", kl);
    objective.stepped(metrics);
  };
  step(0.55);  // 10 % above
  EXPECT_NEAR(weight(), 0.2 * 1.01, 1e-15);
  step(5);  // far above: held to 20 %
  EXPECT_NEAR(weight(), 0.2 * 1.01 * 1.02, 1e-15);
  step(0);
  EXPECT_NEAR(weight(), 0.2 * 1.01 * 1.02 * 0.98, 1e-15);
  auto restored = make<Reinforce>("{kl_weight: 0.2, kl_target: 0.5, kl_horizon: 10}");
  restored.load_state(objective.state());
  EXPECT_EQ(restored.state().at("kl_weight").item<double>(), weight());
  auto refuse = [] { make<Reinforce>("{kl_target: 0.5}").needs(); };
  EXPECT_NE(testing::message_of(refuse).find("kl_weight"), std::string::npos);
  EXPECT_TRUE(make<Reinforce>("{kl_weight: 0.2}").state().empty());
}

TEST(Objectives, NameTheCreditThatBelongsToThem) {
  EXPECT_EQ(make<A2po>("{}").needs().credit, "optimal_value");
  Needs both = make<A2po>("{}").needs() | Needs{};
  EXPECT_EQ(both.credit, "optimal_value");
}

}  // namespace
}  // namespace rft::language_losses_test
