/// An optimizer of weights of which another process has the other part: the steps and the state of the whole.
#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

#include "rft/train/optimizer.h"
#include "support.h"
#include "thread_ranks.h"

namespace rft::divided_optimizer_test {
namespace {

using testing::ThreadRanks;

const std::map<std::string, WeightPart> kParts = {
    {"qkv", {0, {8, 4, 4}}}, {"qkv.bias", {0, {8, 4, 4}}}, {"out", {1, {8}}}, {"tokens", {0, {9}}}};

std::vector<Parameter> whole_parameters() {
  auto make = [](at::IntArrayRef shape, double from) {
    return at::linspace(from, 1, c10::multiply_integers(shape)).view(shape).requires_grad_();
  };
  return {{"tokens", make({9, 5}, -1), true},  {"norm", make({5}, -2), false},  {"qkv", make({16, 5}, -3), true},
          {"qkv.bias", make({16}, -2), false}, {"out", make({5, 8}, -4), true}, {"out.bias", make({5}, 0.5), false}};
}

struct Course {
  std::vector<Tensor> weights;
  std::vector<double> norms;
  State state;
};

/// Steps towards 0, 1, 2, ...: every weight's gradient is its own distance.
Course course(std::vector<Parameter> parameters, const DividedWeights& divided, int64_t from, int64_t to,
              const std::vector<State>& pieces = {}) {
  OptimizerOptions options;
  options.lr = 0.01, options.weight_decay = 0.1;
  Optimizer optimizer(parameters, options, {.divided = divided});
  if (!pieces.empty()) optimizer.load_state(pieces);
  Course out;
  for (int64_t step = from; step < to; ++step) {
    optimizer.zero_grad();
    Tensor loss = at::zeros({});
    for (auto& p : parameters) loss = loss.add(p.value.sub(static_cast<double>(step)).square().sum().div(2));
    loss.backward();
    out.norms.push_back(optimizer.grad_norm());
    optimizer.scale_grad(1 / out.norms.back());
    optimizer.step(0.01);
  }
  for (const auto& p : parameters) out.weights.push_back(p.value.detach().clone());
  for (const auto& [name, value] : optimizer.state()) out.state[name] = value.clone();
  EXPECT_EQ(optimizer.parameter_count(), 45 + 5 + 80 + 16 + 40 + 5);
  return out;
}

/// The same by two processes that have a part each; from `values`, if any.
std::vector<Course> divided_course(int64_t from, int64_t to, const std::vector<State>& pieces = {},
                                   const std::vector<Tensor>& values = {}) {
  std::vector<Course> out(2);
  ThreadRanks::run(2, [&](Communicator& group) {
    auto parameters = whole_parameters();
    at::NoGradGuard no_grad;
    for (size_t i = 0; i < parameters.size(); ++i) {
      if (!values.empty()) parameters[i].value.copy_(values[i]);
      auto part = kParts.find(parameters[i].name);
      if (part == kParts.end()) continue;
      Tensor mine = part_of(parameters[i].value.detach(), part->second, group.rank(), 2);
      parameters[i].value = mine.requires_grad_();
    }
    at::AutoGradMode with_grad(true);
    out[static_cast<size_t>(group.rank())] = course(parameters, {&group, kParts}, from, to, pieces);
  });
  return out;
}

void expect_parts_of(const Course& whole, const std::vector<Course>& parts) {
  auto parameters = whole_parameters();
  for (int64_t rank : {0, 1}) {
    const Course& mine = parts[static_cast<size_t>(rank)];
    for (size_t i = 0; i < mine.weights.size(); ++i) {
      auto part = kParts.find(parameters[i].name);
      Tensor expected = part == kParts.end() ? whole.weights[i] : part_of(whole.weights[i], part->second, rank, 2);
      EXPECT_LT(mine.weights[i].sub(expected).abs().max().item<double>(), 1e-6) << parameters[i].name;
    }
    auto norm = whole.norms.end() - static_cast<int64_t>(mine.norms.size());  // of the last steps
    for (double one : mine.norms) {
      EXPECT_NEAR(one, *norm, 1e-5 * *norm);
      ++norm;
    }
  }
  EXPECT_EQ(parts[0].norms, parts[1].norms);
}

TEST(DividedOptimizer, StepsAsTheWholeDoes) {
  expect_parts_of(course(whole_parameters(), {}, 0, 5), divided_course(0, 5));
}

TEST(DividedOptimizer, ItsStateIsTheWholesInAnyLayout) {
  Course before = course(whole_parameters(), {}, 0, 3), whole = course(whole_parameters(), {}, 0, 6);
  auto parts = divided_course(0, 3);
  auto weights = whole_parameters();
  {
    at::NoGradGuard no_grad;
    for (size_t i = 0; i < weights.size(); ++i) weights[i].value.copy_(before.weights[i]);
  }
  // Every moment once: the first process has what is not divided.
  EXPECT_EQ(parts[0].state.at("mean").numel() + parts[1].state.at("mean").numel(), before.state.at("mean").numel());
  Course joined = course(weights, {}, 3, 6, {parts[0].state, parts[1].state});
  for (size_t i = 0; i < weights.size(); ++i)
    EXPECT_LT(joined.weights[i].sub(whole.weights[i]).abs().max().item<double>(), 1e-6) << weights[i].name;
  expect_parts_of(whole, divided_course(3, 6, {before.state}, before.weights));
  expect_parts_of(whole, divided_course(3, 6, {parts[0].state, parts[1].state}, before.weights));
}

}  // namespace
}  // namespace rft::divided_optimizer_test
