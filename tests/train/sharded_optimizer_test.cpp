/// The optimizer's work divided among processes: the same weights and the same state, bit for bit.
#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

#include "rft/train/optimizer.h"
#include "support.h"
#include "thread_ranks.h"

namespace rft {
namespace {

using testing::message_of;
using testing::ThreadRanks;

/// Weights of sizes that no register divides, of two groups, some decayed.
std::vector<Parameter> weights(at::ScalarType type = at::kFloat) {
  auto make = [&](at::IntArrayRef shape, double from) {
    int64_t n = c10::multiply_integers(shape);
    return at::linspace(from, 1, n).view(shape).to(type).requires_grad_();
  };
  return {{"bias", make({7}, -1), false},
          {"weight", make({23, 11}, -2), true},
          {"q", make({5, 3}, -3), true, groups::critic},
          {"norm", make({61}, -0.5), false}};
}

OptimizerOptions options() {
  OptimizerOptions out;
  out.lr = 0.01, out.critic_lr = 0.05, out.weight_decay = 0.1;
  return out;
}

/// Everything that a run may see of an optimizer after some steps.
struct Seen {
  std::vector<Tensor> weights;
  std::vector<double> norms;
  State state;
};

/// Steps whose whole gradient only one of the processes found, so that no order of adding matters.
Seen stepped(std::vector<Parameter>& parameters, Optimizer& optimizer, Communicator* processes, int64_t from,
             int64_t to) {
  Seen seen;
  for (int64_t step = from; step < to; ++step) {
    optimizer.zero_grad();
    if (!processes || processes->rank() == step % processes->size()) {
      Tensor loss = at::zeros({});
      for (auto& p : parameters) loss = loss.add(p.value.to(at::kFloat).sub(static_cast<double>(step)).pow(2).sum());
      loss.backward();
    }
    optimizer.reduce_grad();
    seen.norms.push_back(optimizer.grad_norm());
    optimizer.scale_grad(1 / seen.norms.back());
    optimizer.step(0.01, step % 2 ? std::set<std::string>{} : std::set<std::string>{groups::policy});
  }
  at::NoGradGuard no_grad;
  for (const auto& p : parameters) seen.weights.push_back(p.value.detach().clone());
  for (const auto& [name, value] : optimizer.state()) seen.state[name] = value.clone();
  return seen;
}

/// What each of `size` processes sees.
std::vector<Seen> on(int64_t size, bool sharded, int64_t from, int64_t to, at::ScalarType type = at::kFloat,
                     const std::vector<State>& pieces = {}, const std::vector<Tensor>& values = {}) {
  std::vector<Seen> out(static_cast<size_t>(size));
  ThreadRanks::run(size, [&](Communicator& processes) {
    auto parameters = weights(type);
    Optimizer optimizer(parameters, options(), &processes, sharded);
    if (!pieces.empty()) {
      at::NoGradGuard no_grad;
      for (size_t i = 0; i < values.size(); ++i) parameters[i].value.copy_(values[i]);
      optimizer.refresh_master();
      optimizer.load_state(pieces);
    }
    out[static_cast<size_t>(processes.rank())] = stepped(parameters, optimizer, &processes, from, to);
  });
  return out;
}

void expect_same_weights(const Seen& a, const Seen& b, const std::string& what) {
  EXPECT_EQ(a.norms, b.norms) << what;
  for (size_t i = 0; i < a.weights.size(); ++i) EXPECT_TRUE(a.weights[i].equal(b.weights[i])) << what << " " << i;
}

/// The processes' moments side by side, as one process has them.
Tensor joined(const std::vector<Seen>& all, const std::string& name) {
  std::vector<Tensor> parts;
  for (const Seen& one : all) parts.push_back(one.state.at(name));
  return at::cat(parts);
}

TEST(ShardedOptimizer, StepsTheSameBitsOnAnyNumberOfProcesses) {
  for (auto type : {at::kFloat, at::kBFloat16}) {
    Seen one = on(1, false, 0, 5, type)[0];
    for (int64_t size : {1, 2, 3, 5, 40})
      for (bool sharded : {false, true}) {
        auto all = on(size, sharded, 0, 5, type);
        std::string what = cat(c10::toString(type), " on ", size, sharded ? " sharded" : "");
        for (const Seen& seen : all) expect_same_weights(one, seen, what);
        if (!sharded) continue;
        for (const char* name : {"mean", "square"})
          EXPECT_TRUE(joined(all, name).equal(one.state.at(name))) << what << " " << name;
      }
  }
}

TEST(ShardedOptimizer, EachProcessKeepsItsPartOfTheMomentsOnly) {
  auto all = on(3, true, 0, 1);
  int64_t count = 7 + 23 * 11 + 15 + 61, next = 0;
  for (const Seen& seen : all) {
    Tensor range = seen.state.at("range");
    EXPECT_EQ(range[0].item<int64_t>(), next);
    next = range[1].item<int64_t>();
    EXPECT_LE(seen.state.at("mean").numel(), (count + 2) / 3 + 16);
  }
  EXPECT_EQ(next, count);
}

TEST(ShardedOptimizer, GoesOnFromTheStateOfAnyOtherNumberBitForBit) {
  for (auto type : {at::kFloat, at::kBFloat16}) {
    Seen whole = on(1, false, 0, 6, type)[0];
    for (auto [size, sharded] : {std::pair{3, true}, {2, true}, {2, false}}) {
      auto before = on(size, sharded, 0, 3, type);
      std::vector<State> pieces;
      for (const Seen& seen : before)
        if (sharded || pieces.empty()) pieces.push_back(seen.state);
      for (auto [other, cut] : {std::pair{1, false}, {2, true}, {2, false}, {5, true}}) {
        auto after = on(other, cut, 3, 6, type, pieces, before[0].weights);
        for (size_t i = 0; i < whole.weights.size(); ++i)
          for (const Seen& seen : after) EXPECT_TRUE(seen.weights[i].equal(whole.weights[i])) << size << other;
        EXPECT_TRUE((cut ? joined(after, "square") : after[0].state.at("square")).equal(whole.state.at("square")));
      }
    }
  }
}

TEST(ShardedOptimizer, SaysWhereAStateDoesNotFit) {
  auto all = on(3, true, 0, 1);
  auto parameters = weights();
  Optimizer optimizer(parameters, options());
  EXPECT_EQ(
      message_of([&] {
        optimizer.load_state({all[0].state, all[2].state});
      }),
      "[checkpoint] the optimizer's state holds 211 of 336 weights; are all files of its trainer directory there, "
      "and none twice?");
  State other = all[0].state;
  other["range"] = at::tensor({0, 400}, at::kLong);
  EXPECT_EQ(message_of([&] { optimizer.load_state({other}); }),
            "[checkpoint] the optimizer's state is of weights 0 to 400; this model trains 336");
  other = all[0].state;
  other.erase("square");
  EXPECT_EQ(message_of([&] { optimizer.load_state({other}); }),
            "[checkpoint] the optimizer's 'square' does not fit this model's 336 trained weights");
}

}  // namespace
}  // namespace rft
