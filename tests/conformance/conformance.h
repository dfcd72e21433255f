#pragma once
/// What every Objective must satisfy, whatever it computes. A test calls check_objective for each of its variants.
#include <ATen/ATen.h>
#include <ATen/CPUGeneratorImpl.h>
#include <c10/core/GradMode.h>
#include <gtest/gtest.h>
#include <torch/csrc/autograd/autograd.h>

#include <cmath>
#include <functional>
#include <limits>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "rft/core/extra.h"
#include "rft/core/options.h"
#include "rft/objective/objective.h"

namespace rft::testing {

/// A batch and what the policy says of it; no tensor requires a gradient.
struct Example {
  Evaluation now;
  Experience batch;
  Tensor permutation;         ///< [B] int64: an order of the rows that must not matter
  std::vector<Tensor> parts;  ///< row numbers: micro-batches whose losses must add up to the whole's
};

struct ObjectiveCase {
  std::string name;
  std::function<std::unique_ptr<Objective>()> make;
  std::function<Example()> example;
  bool differentiable = true;  ///< false: a factor of the loss is held constant, so finite differences don't apply
  bool flat_at_zero_advantage = false;       ///< no advantage, no gradient (no KL, no likelihood term)
  std::set<std::string> whole_metrics = {};  ///< metrics that only the whole batch has
};

/// An objective of YAML options, checked as a recipe's are.
template <class T>
T make(const std::string& options) {
  return T(read_options<typename T::Options>(Config::parse(options)));
}

template <class T>
ObjectiveCase case_of(const std::string& options, Example (*example)()) {
  ObjectiveCase out;
  out.name = options;
  out.make = [options] { return std::make_unique<T>(make<T>(options)); };
  out.example = example;
  return out;
}

/// Six ragged rows of five decisions in float64, one of them without any, in three groups.
inline Example policy_gradient_example() {
  at::Generator g = at::detail::createCPUGenerator(5);
  auto doubles = at::TensorOptions().dtype(at::kDouble);
  auto noise = [&](double scale) { return at::randn({6, 5}, g, doubles).mul(scale); };
  Example out;
  Experience& b = out.batch;
  b.old_logp = noise(1).abs().neg().sub(0.1);
  b.logp = b.old_logp.add(noise(0.1));
  b.ref_logp = b.old_logp.add(noise(0.3));
  out.now.logp = b.old_logp.add(noise(0.4));
  out.now.entropy = noise(1).abs();
  b.mask = at::arange(5).unsqueeze(0).lt(at::tensor({5, 2, 4, 0, 3, 5}).unsqueeze(1));
  b.advantage = at::tensor({1.2, -0.7, 0.4, -0.9, -0.3, 2.0}, doubles).unsqueeze(1).expand({6, 5}).clone();
  b.group = at::tensor({3, 3, 8, 8, 1, 1}, at::kLong);
  b.reward = at::tensor({1.0, 0.0, 0.5, 0.2, 0.0, 0.9}, doubles);
  b.extra.set(extra::truncated, at::tensor({0, 1, 0, 0, 1, 0}).to(at::kBool));
  b.fill_totals();
  out.permutation = at::tensor({4, 2, 0, 5, 1, 3}, at::kLong);
  out.parts = {at::tensor({0, 1, 2}, at::kLong), at::tensor({3}, at::kLong), at::tensor({4, 5}, at::kLong)};
  return out;
}

/// The same six rows as three pairs, the chosen ones first.
inline Example pairs_example() {
  Example out = policy_gradient_example();
  out.permutation = at::tensor({2, 0, 1, 5, 3, 4}, at::kLong);
  out.parts = {at::tensor({1, 4}, at::kLong), at::tensor({0, 2, 3, 5}, at::kLong)};
  return out;
}

/// The same six rows with a verdict each, and answers to other prompts.
inline Example unpaired_example() {
  Example out = policy_gradient_example();
  at::Generator g = at::detail::createCPUGenerator(6);
  auto noise = [&] { return at::randn({6, 3}, g, at::TensorOptions().dtype(at::kDouble)); };
  out.batch.extra.set(extra::label, at::tensor({1.0, 0.0, 1.0, 0.0, 1.0, 1.0}, at::kDouble));
  out.batch.extra.set(extra::kl_logp, noise().sub(1));
  out.batch.extra.set(extra::kl_ref_logp, noise().sub(2));
  out.batch.extra.set(extra::kl_mask, at::arange(3).unsqueeze(0).lt(at::tensor({3, 1, 2, 3, 0, 2}).unsqueeze(1)));
  return out;
}

/// The same six rows with a critic's estimates.
inline Example critic_example() {
  Example out = policy_gradient_example();
  at::Generator g = at::detail::createCPUGenerator(7);
  auto noise = [&](double scale) { return at::randn({6, 5}, g, at::TensorOptions().dtype(at::kDouble)).mul(scale); };
  Tensor old = noise(1);
  out.now.value = old.add(noise(0.4));
  out.batch.extra.set(extra::old_value, old);
  out.batch.extra.set(extra::returns, old.add(noise(1)));
  return out;
}

/// The same six rows with a denoiser's estimates of 2 x 2 x 2 numbers.
inline Example estimates_example() {
  Example out = policy_gradient_example();
  at::Generator g = at::detail::createCPUGenerator(8);
  auto noise = [&](std::vector<int64_t> shape, double scale) {
    return at::randn(shape, g, at::TensorOptions().dtype(at::kDouble)).mul(scale);
  };
  Tensor old = noise({6, 5, 2, 2, 2}, 1);
  out.batch.action = noise({6, 5, 2, 2, 2}, 1);
  out.batch.extra.set(extra::old_estimate, old);
  out.now.extra.set(extra::estimate, old.add(noise({6, 5, 2, 2, 2}, 0.2)));
  out.now.extra.set(extra::ref_estimate, old.add(noise({6, 5, 2, 2, 2}, 0.3)));
  out.now.extra.set(extra::estimate_scale, noise({6, 5}, 1).abs().add(0.2));
  return out;
}

/// The same six rows, three groups of two, with rewards that carry a graph.
inline Example pathwise_example() {
  Example out = policy_gradient_example();
  out.now.reward = at::tensor({0.4, -0.3, 1.7, 1.1, 2.6, 2.9}, at::kDouble);
  out.parts = {at::tensor({2, 3}, at::kLong), at::tensor({0, 1, 4, 5}, at::kLong)};
  return out;
}

/// The float members of an Evaluation, listed once.
inline std::vector<Tensor Evaluation::*> evaluation_columns() {
  return {&Evaluation::logp, &Evaluation::entropy, &Evaluation::value, &Evaluation::score, &Evaluation::reward};
}

/// `now` with every column replaced.
inline Evaluation map(const Evaluation& now, const std::function<Tensor(const Tensor&)>& change) {
  Evaluation out = now;
  for (auto column : evaluation_columns())
    if ((out.*column).defined()) out.*column = change(out.*column);
  for (const auto& [name, x] : now.extra.tensors()) out.extra.set(name, change(x));
  return out;
}

/// What map() goes over, in its order.
inline std::vector<Tensor> inputs_of(const Evaluation& now) {
  std::vector<Tensor> out;
  map(now, [&](const Tensor& x) { return out.push_back(x), x; });
  return out;
}

/// Whether x is [B, T, ...], something of every decision.
inline bool of_decisions(const Tensor& x, const Tensor& mask) {
  return x.dim() >= 2 && x.size(0) == mask.size(0) && x.size(1) == mask.size(1);
}

/// The mask [B, T] with as many dimensions as x.
inline Tensor mask_like(const Tensor& mask, const Tensor& x) {
  Tensor out = mask;
  while (out.dim() < x.dim()) out = out.unsqueeze(-1);
  return out.expand(x.sizes());
}

/// `batch` with every column replaced, those of `extra` that are [B, T, ...] too.
inline Experience map(const Experience& batch, const std::function<Tensor(const Tensor&)>& change) {
  Experience out = batch;
  for (const auto& column : experience_columns())
    if ((batch.*column.member).defined()) out.*column.member = change(batch.*column.member);
  for (const auto& [name, x] : batch.extra.tensors())
    if (of_decisions(x, batch.mask)) out.extra.set(name, change(x));
  return out;
}

struct Judged {
  double loss = 0;
  std::vector<Tensor> grads;  ///< of inputs_of(now), zeros where the loss doesn't depend on one
  Metrics metrics;
};

inline Judged judge(const Objective& objective, const Evaluation& now, const Experience& batch) {
  Evaluation leaves = map(now, [](const Tensor& x) { return x.detach().clone().set_requires_grad(true); });
  Loss loss = objective.loss(leaves, batch);
  Judged out;
  out.loss = loss.total().item<double>();
  out.metrics = loss.metrics;
  std::vector<Tensor> inputs = inputs_of(leaves);
  out.grads = torch::autograd::grad({loss.total()}, inputs, {}, false, false, /*allow_unused=*/true);
  for (size_t i = 0; i < inputs.size(); ++i)
    if (!out.grads[i].defined()) out.grads[i] = at::zeros_like(inputs[i]);
  return out;
}

/// As the trainer calls it: the whole batch is observed before its micro-batches.
inline Judged judge_observed(Objective& objective, const Example& whole, const Evaluation& now,
                             const Experience& batch) {
  if (objective.needs().whole_batch || objective.needs().mismatched) objective.observe(whole.now, whole.batch);
  return judge(objective, now, batch);
}

inline void expect_same(const Judged& got, const Judged& expected, const std::string& what, double tolerance = 1e-11) {
  EXPECT_NEAR(got.loss, expected.loss, tolerance) << what;
  ASSERT_EQ(got.grads.size(), expected.grads.size()) << what;
  for (size_t i = 0; i < got.grads.size(); ++i)
    EXPECT_LE(got.grads[i].sub(expected.grads[i]).abs().max().item<double>(), tolerance) << what << ": gradient " << i;
  auto means = got.metrics.means(), others = expected.metrics.means();
  EXPECT_EQ(means.size(), others.size()) << what;
  for (const auto& [name, value] : others) EXPECT_NEAR(means[name], value, tolerance) << what << ": " << name;
}

inline void check_finite_differences(const ObjectiveCase& c, const Example& e) {
  auto objective = c.make();
  Judged analytic = judge_observed(*objective, e, e.now, e.batch);
  auto value = [&](const Evaluation& now) {
    c10::AutoGradMode off(false);
    return objective->loss(now, e.batch).total().item<double>();
  };
  std::vector<Tensor> inputs = inputs_of(e.now);
  for (size_t which = 0; which < inputs.size(); ++which) {
    Tensor grad = analytic.grads[which].flatten();
    for (int64_t i = 0; i < grad.numel(); ++i) {
      double ends[2], step = 1e-6;
      for (int side : {0, 1}) {
        size_t at_input = 0;
        ends[side] = value(map(e.now, [&](const Tensor& x) {
          if (at_input++ != which) return x;
          Tensor moved = x.clone();
          moved.flatten()[i].add_(side ? step : -step);
          return moved;
        }));
      }
      EXPECT_NEAR((ends[1] - ends[0]) / (2 * step), grad[i].item<double>(), 1e-8) << "finite difference at " << i;
    }
  }
}

inline void check_masked_garbage(const ObjectiveCase& c, const Example& e, const Judged& whole) {
  constexpr double infinity = std::numeric_limits<double>::infinity();
  for (double garbage : {std::nan(""), 1e4, -1e4, -infinity, infinity}) {
    auto spoil = [&](const Tensor& x) {
      return x.is_floating_point() && of_decisions(x, e.batch.mask)
                 ? at::where(mask_like(e.batch.mask, x), x, at::full({}, garbage, x.options()))
                 : x;
    };
    Example spoiled = e;
    spoiled.now = map(e.now, spoil);
    spoiled.batch = map(e.batch, spoil);
    auto objective = c.make();
    expect_same(judge_observed(*objective, spoiled, spoiled.now, spoiled.batch), whole,
                "garbage where masked: " + std::to_string(garbage));
  }
  for (const auto& grad : whole.grads) {
    if (!of_decisions(grad, e.batch.mask)) continue;
    EXPECT_EQ(grad.masked_select(mask_like(e.batch.mask, grad).logical_not()).abs().sum().item<double>(), 0)
        << "a masked gradient";
  }
}

inline void check_padding(const ObjectiveCase& c, const Example& e, const Judged& whole) {
  auto pad = [&](const Tensor& x) {
    if (!of_decisions(x, e.batch.mask)) return x;
    auto shape = x.sizes().vec();
    shape[1] = 3;
    return at::cat({x, at::zeros(shape, x.options())}, 1);
  };
  Example wide = e;
  wide.now = map(e.now, pad);
  wide.batch = map(e.batch, pad);
  auto objective = c.make();
  Judged got = judge_observed(*objective, wide, wide.now, wide.batch);
  for (size_t i = 0; i < got.grads.size(); ++i)
    if (got.grads[i].dim() >= 2) got.grads[i] = got.grads[i].narrow(1, 0, whole.grads[i].size(1));
  expect_same(got, whole, "padded by three columns");
}

inline void check_permutation(const ObjectiveCase& c, const Example& e, const Judged& whole) {
  Example moved = e;
  moved.now = map(e.now, [&](const Tensor& x) { return x.index_select(0, e.permutation); });
  moved.batch = e.batch.select(e.permutation);
  auto objective = c.make();
  Judged expected = whole;
  for (auto& grad : expected.grads) grad = grad.index_select(0, e.permutation);
  expect_same(judge_observed(*objective, moved, moved.now, moved.batch), expected, "rows in another order");
}

inline Metrics without(const Metrics& metrics, const std::set<std::string>& names) {
  Metrics out;
  for (const auto& [name, value] : metrics.means())
    if (!names.count(name)) out.add(name, value);
  return out;
}

inline void check_split(const ObjectiveCase& c, const Example& e, const Judged& whole) {
  auto objective = c.make();
  Judged sum;
  for (const auto& grad : whole.grads) sum.grads.push_back(at::zeros_like(grad));
  if (objective->needs().whole_batch || objective->needs().mismatched) objective->observe(e.now, e.batch);
  for (const auto& rows : e.parts) {
    auto part =
        judge(*objective, map(e.now, [&](const Tensor& x) { return x.index_select(0, rows); }), e.batch.select(rows));
    sum.loss += part.loss;
    sum.metrics.merge(part.metrics);
    for (size_t i = 0; i < sum.grads.size(); ++i) sum.grads[i].index_add_(0, rows, part.grads[i]);
  }
  Judged expected = whole;
  expected.metrics = without(whole.metrics, c.whole_metrics);
  expect_same(sum, expected, "micro-batches added up");
}

inline void check_zero_advantage(const ObjectiveCase& c, const Example& e) {
  Experience batch = e.batch;
  batch.advantage = at::zeros_like(e.batch.advantage);
  auto objective = c.make();
  EXPECT_EQ(judge(*objective, e.now, batch).grads.at(0).abs().max().item<double>(), 0) << "advantage 0";
}

inline void check_float32(const ObjectiveCase& c, const Example& e, const Judged& whole) {
  auto narrow = [](const Tensor& x) { return x.is_floating_point() ? x.to(at::kFloat) : x; };
  Example single = e;
  single.now = map(e.now, narrow);
  single.batch = map(e.batch, narrow);
  auto objective = c.make();
  Judged got = judge_observed(*objective, single, single.now, single.batch);
  for (const auto& grad : got.grads) EXPECT_EQ(grad.scalar_type(), at::kFloat);
  expect_same(got, whole, "float32", 2e-5);
}

/// Runs all of it.
inline void check_objective(const ObjectiveCase& c) {
  SCOPED_TRACE(c.name);
  Example e = c.example();
  auto objective = c.make();
  Judged whole = judge_observed(*objective, e, e.now, e.batch);
  EXPECT_TRUE(std::isfinite(whole.loss));
  double most = 0;
  for (const Tensor& grad : whole.grads) most = std::max(most, grad.abs().max().item<double>());
  EXPECT_GT(most, 0) << "the example teaches nothing";
  if (c.differentiable) check_finite_differences(c, e);
  check_masked_garbage(c, e, whole);
  check_padding(c, e, whole);
  check_permutation(c, e, whole);
  check_split(c, e, whole);
  check_float32(c, e, whole);
  if (c.flat_at_zero_advantage) check_zero_advantage(c, e);
  auto restored = c.make();
  restored->load_state(objective->state());
  expect_same(judge_observed(*restored, e, e.now, e.batch), whole, "after its state was saved and loaded");
}

}  // namespace rft::testing
