/// The optimizer's state on the host: the same steps and the same checkpoints, bit for bit.
#include "host_places.h"
#include "rft/core/text.h"
#include "rft/nn/layer_gate.h"
#include "rft/train/optimizer.h"
#include "support.h"
#include "thread_ranks.h"

namespace rft::offload_test {
namespace {

using testing::LateCopies;
using testing::ThreadRanks;

std::vector<Parameter> weights(at::ScalarType type) {
  auto make = [&](at::IntArrayRef shape, double from) {
    return at::linspace(from, 1, c10::multiply_integers(shape)).view(shape).to(type).requires_grad_();
  };
  return {{"layers.0.weight", make({23, 11}, -2), true},
          {"layers.0.bias", make({7}, -1), false},
          {"layers.1.weight", make({5, 30}, -1), true},
          {"q", make({5, 3}, -3), true, groups::critic}};
}

/// What a run may see of an optimizer.
struct Seen {
  std::vector<Tensor> weights;
  std::vector<double> norms;
  State state;
};

struct Course {
  int64_t from = 0, to = 4;
  at::ScalarType type = at::kFloat;
  Sharding sharding = Sharding::none;
  bool offloaded = false;
  std::vector<State> pieces = {};
  std::vector<Tensor> values = {};
};

/// Every weight's distance from `target`, through the gate where there is one.
Tensor loss_of(const std::vector<Parameter>& parameters, LayerGate* gate, double target) {
  Tensor loss = at::zeros({}).requires_grad_();
  auto add = [&](const Parameter& p) { loss = loss.add(p.value.to(at::kFloat).sub(target).pow(2).sum()); };
  for (int64_t layer : {0, 1}) {
    loss = into_layer(gate, layer, loss);
    for (const Parameter& p : parameters)
      if (p.name == cat("layers.", layer, ".weight")) add(p);
    loss = out_of_layer(gate, layer, loss);
  }
  for (const Parameter& p : parameters)
    if (!p.name.ends_with(".weight")) add(p);
  return loss;
}

/// Steps whose whole gradient one process found, so that no order of adding matters.
Seen stepped(const Course& course, Communicator* processes) {
  auto parameters = weights(course.type);
  Placement placement{processes, course.sharding, {{"layers.0.", "layers.1."}}};
  if (course.offloaded) placement.host = std::make_shared<LateCopies>();
  OptimizerOptions options;
  options.lr = 0.01, options.critic_lr = 0.05, options.weight_decay = 0.1;
  Optimizer optimizer(parameters, options, placement);
  if (!course.pieces.empty()) {
    at::NoGradGuard no_grad;
    for (size_t i = 0; i < parameters.size(); ++i) parameters[i].value.copy_(course.values[i]);
    optimizer.refresh_master();
    optimizer.load_state(course.pieces);
  }
  Seen seen;
  for (int64_t step = course.from; step < course.to; ++step) {
    optimizer.release_weights();
    optimizer.zero_grad();
    Tensor loss;
    if (!processes || processes->rank() == step % processes->size())
      loss = loss_of(parameters, optimizer.gate(), static_cast<double>(step));
    optimizer.forward_done();
    optimizer.begin_reduction();
    if (loss.defined()) loss.backward();
    optimizer.end_reduction();
    seen.norms.push_back(optimizer.grad_norm());
    optimizer.scale_grad(1 / seen.norms.back());
    optimizer.step(0.01, step % 2 ? std::set<std::string>{} : std::set<std::string>{groups::policy});
  }
  optimizer.gather_weights();
  at::NoGradGuard no_grad;
  for (const auto& p : parameters) seen.weights.push_back(p.value.detach().clone());
  for (const auto& [name, value] : optimizer.state()) seen.state[name] = value.clone();
  return seen;
}

std::vector<Seen> on(int64_t size, const Course& course) {
  if (size == 1) return {stepped(course, nullptr)};
  std::vector<Seen> out(static_cast<size_t>(size));
  ThreadRanks::run(
      size, [&](Communicator& processes) { out[static_cast<size_t>(processes.rank())] = stepped(course, &processes); });
  return out;
}

void expect_same(const std::vector<Seen>& a, const std::vector<Seen>& b, const std::string& what) {
  ASSERT_EQ(a.size(), b.size());
  for (size_t r = 0; r < a.size(); ++r) {
    EXPECT_EQ(a[r].norms, b[r].norms) << what;
    for (size_t i = 0; i < a[r].weights.size(); ++i)
      EXPECT_TRUE(a[r].weights[i].equal(b[r].weights[i])) << what << " " << i;
    ASSERT_EQ(a[r].state.size(), b[r].state.size()) << what;
    for (const auto& [name, value] : a[r].state) EXPECT_TRUE(value.equal(b[r].state.at(name))) << what << " " << name;
  }
}

constexpr Sharding kAll[] = {Sharding::none, Sharding::optimizer, Sharding::gradients};

TEST(Offload, StepsTheSameBits) {
  for (auto type : {at::kFloat, at::kBFloat16, at::kDouble})
    for (int64_t size : {1, 2, 3})
      for (Sharding sharding : kAll) {
        Course course{.type = type, .sharding = sharding};
        auto there = on(size, course);
        course.offloaded = true;
        expect_same(there, on(size, course), cat(c10::toString(type), size, static_cast<int>(sharding)));
      }
}

TEST(Offload, GoesOnFromStatesOfEitherPlace) {
  for (auto type : {at::kFloat, at::kBFloat16}) {
    auto whole = on(1, {.to = 6, .type = type});
    for (bool first : {false, true}) {
      auto before = on(2, {.to = 3, .type = type, .sharding = Sharding::optimizer, .offloaded = first});
      std::vector<State> pieces{before[0].state, before[1].state};
      for (int64_t size : {1, 3}) {
        auto after =
            on(size, {3, 6, type, size == 1 ? Sharding::none : Sharding::gradients, !first, pieces, before[0].weights});
        for (const Seen& seen : after)
          for (size_t i = 0; i < seen.weights.size(); ++i)
            EXPECT_TRUE(seen.weights[i].equal(whole[0].weights[i])) << first << size << i;
      }
    }
  }
}

TEST(Offload, TheLayersOfZero3KeepTheirStateThereToo) {
  for (auto type : {at::kFloat, at::kBFloat16}) {
    Course course{.type = type, .sharding = Sharding::parameters};
    auto there = on(2, course);
    course.offloaded = true;
    expect_same(there, on(2, course), c10::toString(type));
    auto gradients = on(2, {.type = type, .sharding = Sharding::gradients});
    for (const auto& [name, value] : gradients[0].state) EXPECT_TRUE(value.equal(there[0].state.at(name))) << name;
  }
}

TEST(Offload, GradientsComeWhileTheOnesBeforeAreComputed) {
  constexpr int64_t kWeights = 75, kChunk = 16;  // whole registers, so that an element is computed alike everywhere
  auto copies = std::make_shared<LateCopies>();
  OffloadedSteps steps(copies, at::kBFloat16, kChunk);
  EXPECT_EQ(copies->staging_bytes(), 4 * kChunk * 2);
  Tensor start = at::linspace(-1, 1, kWeights), gradient = at::linspace(2, -3, kWeights).to(at::kBFloat16);
  auto zeros = [] { return at::zeros({kWeights}); };
  Tensor master = start.clone(), mean = zeros(), square = zeros(), value = start.to(at::kBFloat16);
  Tensor master2 = start.clone(), mean2 = zeros(), square2 = zeros(), value2 = value.clone();
  for (int64_t step = 1; step < 4; ++step) {
    ops::AdamWStep how{0.1, 0.9, 0.999, 0.01, 1e-8, step};
    ops::adamw(gradient, how, master, mean, square, value);
    steps.add({gradient, value2, master2, mean2, square2}, how);
    EXPECT_GT(copies->waiting(), 0u);
    steps.finish();
    EXPECT_EQ(copies->waiting(), 0u);
    EXPECT_EQ(copies->copies(), static_cast<size_t>(step) * 2 * 5);  // of five chunks both ways
    EXPECT_TRUE(value.equal(value2) && master.equal(master2) && mean.equal(mean2) && square.equal(square2)) << step;
  }
  EXPECT_EQ(copies->most_waiting(), 4u);  // gradients and weights of two chunks, at most
}

}  // namespace
}  // namespace rft::offload_test
