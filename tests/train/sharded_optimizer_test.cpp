/// The optimizer's work divided among processes: the same weights and the same state, bit for bit.
#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

#include "rft/nn/layer_gate.h"
#include "rft/nn/recompute.h"
#include "rft/train/optimizer.h"
#include "support.h"
#include "thread_ranks.h"

namespace rft::sharded_optimizer_test {
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
    optimizer.begin_reduction();
    if (!processes || processes->rank() == step % processes->size()) {
      Tensor loss = at::zeros({});
      for (auto& p : parameters) loss = loss.add(p.value.to(at::kFloat).sub(static_cast<double>(step)).pow(2).sum());
      loss.backward();
    }
    optimizer.end_reduction();
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
std::vector<Seen> on(int64_t size, Sharding sharding, int64_t from, int64_t to, at::ScalarType type = at::kFloat,
                     const std::vector<State>& pieces = {}, const std::vector<Tensor>& values = {}) {
  std::vector<Seen> out(static_cast<size_t>(size));
  ThreadRanks::run(size, [&](Communicator& processes) {
    auto parameters = weights(type);
    Optimizer optimizer(parameters, options(), {&processes, sharding});
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

constexpr int64_t kWeights = 7 + 23 * 11 + 15 + 61;
constexpr Sharding kAll[] = {Sharding::none, Sharding::optimizer, Sharding::gradients};

/// The processes' moments in the weights' order, as one process has them; every weight once.
Tensor joined(const std::vector<Seen>& all, const std::string& name) {
  Tensor out = at::full({kWeights}, NAN), times = at::zeros({kWeights});
  for (const Seen& one : all) {
    Tensor ranges = one.state.at("range");
    int64_t at = 0;
    for (int64_t k = 0; k < ranges.size(0); ++k) {
      int64_t first = ranges[k][0].item<int64_t>(), count = ranges[k][1].item<int64_t>() - first;
      out.narrow(0, first, count).copy_(one.state.at(name).narrow(0, at, count));
      times.narrow(0, first, count).add_(1), at += count;
    }
  }
  EXPECT_TRUE(times.eq(1).all().item<bool>());
  return out;
}

TEST(ShardedOptimizer, StepsTheSameBitsOnAnyNumberOfProcesses) {
  for (auto type : {at::kFloat, at::kBFloat16}) {
    Seen one = on(1, Sharding::none, 0, 5, type)[0];
    for (int64_t size : type == at::kFloat ? std::vector<int64_t>{1, 2, 3, 40} : std::vector<int64_t>{3})
      for (Sharding sharding : kAll) {
        auto all = on(size, sharding, 0, 5, type);
        std::string what = cat(c10::toString(type), " on ", size, " sharding ", static_cast<int>(sharding));
        for (const Seen& seen : all) expect_same_weights(one, seen, what);
        if (sharding == Sharding::none) continue;
        for (const char* name : {"mean", "square"})
          EXPECT_TRUE(joined(all, name).equal(one.state.at(name))) << what << " " << name;
      }
  }
}

TEST(ShardedOptimizer, EachProcessKeepsItsPartOfTheMomentsOnly) {
  for (Sharding sharding : {Sharding::optimizer, Sharding::gradients})
    for (const Seen& seen : on(3, sharding, 0, 1)) EXPECT_LE(seen.state.at("mean").numel(), (kWeights + 2) / 3 + 16);
}

TEST(ShardedOptimizer, GoesOnFromTheStateOfAnyOtherNumberBitForBit) {
  for (auto type : {at::kFloat, at::kBFloat16}) {
    Seen whole = on(1, Sharding::none, 0, 6, type)[0];
    for (auto [size, sharding] : {std::pair{3, Sharding::gradients}, {2, Sharding::optimizer}, {2, Sharding::none}}) {
      auto before = on(size, sharding, 0, 3, type);
      std::vector<State> pieces;
      for (const Seen& seen : before)
        if (sharding != Sharding::none || pieces.empty()) pieces.push_back(seen.state);
      for (auto [other, cut] :
           {std::pair{1, Sharding::none}, {2, Sharding::gradients}, {2, Sharding::none}, {5, Sharding::optimizer}}) {
        auto after = on(other, cut, 3, 6, type, pieces, before[0].weights);
        for (size_t i = 0; i < whole.weights.size(); ++i)
          for (const Seen& seen : after) EXPECT_TRUE(seen.weights[i].equal(whole.weights[i])) << size << other;
        EXPECT_TRUE((cut != Sharding::none ? joined(after, "square") : after[0].state.at("square"))
                        .equal(whole.state.at("square")));
      }
    }
  }
}

/// What a process came to in two steps of a chain of layers, each with `passes` backward passes (the last process one
/// less where `uneven`). With `again` every layer is applied twice and computed anew in the backward pass, so that its
/// gradient comes in two pieces.
struct Chain {
  double norm = 0;    ///< of the second step's gradient
  int64_t early = 0;  ///< bytes sent when the second step's backward pass arrives at the first layer
  int64_t sent = 0;   ///< in the second step's passes
  std::vector<Tensor> weights;
};

struct How {
  int64_t passes = 1;
  bool again = false, uneven = false;
};

constexpr int64_t kLayers = 12, kWidth = 8, kLayerBytes = kWidth * kWidth * 4;

void train_chain(Chain& mine, Communicator& processes, Sharding sharding, const How& how) {
  std::vector<Parameter> layers;
  std::vector<std::string> prefixes;
  for (int64_t k = 0; k < kLayers; ++k) {
    prefixes.push_back(cat("layers.", k, "."));
    layers.push_back({prefixes.back() + "weight",
                      at::linspace(-0.3, 0.1 * static_cast<double>(k % 4), kWidth * kWidth).view({kWidth, kWidth}),
                      true});
    layers.push_back({prefixes.back() + "bias", at::full({kWidth}, 0.1), false});
  }
  Optimizer optimizer(layers, options(), {&processes, sharding, {prefixes}});
  int64_t own = how.passes - (how.uneven && processes.rank() + 1 == processes.size());
  for (int64_t step = 0; step < 2; ++step) {  // the second one in the order that the first one found
    int64_t before = processes.bytes_sent();
    optimizer.release_weights();
    optimizer.zero_grad();
    for (int64_t pass = 0; pass < how.passes; ++pass) {
      Tensor loss, x = at::ones({3, kWidth}).mul(static_cast<double>(processes.rank() + 1 + pass)).requires_grad_();
      if (pass < own) {
        Tensor h = x.mul(1);
        h.register_hook([&mine, &processes, before](const Tensor&) { mine.early = processes.bytes_sent() - before; });
        for (int64_t k = 0; k < kLayers; ++k) {
          const Tensor &w = layers[2 * k].value, &b = layers[2 * k + 1].value;
          auto body = [w, b](const Tensor& in) { return in.matmul(w.t()).add(b).tanh(); };
          h = into_layer(optimizer.gate(), k, h);
          h = how.again ? recompute_in_backward(body, recompute_in_backward(body, h)) : body(h);
          h = out_of_layer(optimizer.gate(), k, h);
        }
        loss = h.square().sum();
      }
      optimizer.forward_done();
      bool reduces = optimizer.reduces_every_pass() || pass + 1 == how.passes;
      if (reduces) optimizer.begin_reduction();
      if (loss.defined()) loss.backward();
      if (reduces) optimizer.end_reduction();
    }
    mine.sent = processes.bytes_sent() - before;
    mine.norm = optimizer.grad_norm();
    optimizer.step(0.01);
  }
  optimizer.gather_weights();
  for (const auto& layer : layers) mine.weights.push_back(layer.value.detach().clone());
}

std::vector<Chain> chains(int64_t size, Sharding sharding, const How& how) {
  std::vector<Chain> out(static_cast<size_t>(size));
  ThreadRanks::run(size, [&](Communicator& processes) {
    train_chain(out[static_cast<size_t>(processes.rank())], processes, sharding, how);
  });
  return out;
}

constexpr Sharding kEvery[] = {Sharding::none, Sharding::optimizer, Sharding::gradients, Sharding::parameters};

void expect_same(const std::vector<Chain>& all, const Chain& expected, double tolerance, const std::string& what) {
  for (const Chain& mine : all) {
    EXPECT_NEAR(mine.norm, expected.norm, tolerance * expected.norm) << what;
    for (size_t i = 0; i < mine.weights.size(); ++i)
      EXPECT_LE(mine.weights[i].sub(expected.weights[i]).abs().max().item<double>(), tolerance) << what << " " << i;
  }
}

TEST(ShardedOptimizer, AddsUpGradientsWhileTheBackwardPassGoesOn) {
  for (int64_t size : {2, 3}) {
    Chain whole = chains(size, Sharding::none, {})[0];
    for (Sharding sharding : kEvery) {
      auto all = chains(size, sharding, {});
      std::string what = cat("sharding ", static_cast<int>(sharding), " on ", size);
      expect_same(all, whole, 0, what);
      // Of ZeRO's stages: gradients once, and everywhere (none), or weights in the forward and the backward pass.
      int64_t once = kLayers * kLayerBytes * (size - 1) / size;
      int64_t times = sharding == Sharding::none ? 2 : sharding == Sharding::parameters ? 3 : 1;
      for (const Chain& mine : all) {
        EXPECT_GE(mine.sent, once * times) << what;
        EXPECT_LE(mine.sent, once * times * 2) << what;  // in whole rows of the buffer, and what is no layer's
        EXPECT_GT(mine.early, once / 2) << what;
      }
    }
  }
}

TEST(ShardedOptimizer, AGradientThatComesInPiecesIsWhole) {
  How again{.again = true};
  Chain one = chains(1, Sharding::none, again)[0];
  for (Sharding sharding : kEvery) {
    expect_same(chains(1, sharding, again), one, 0, "alone");
    auto two = chains(2, sharding, again);
    expect_same(two, chains(2, Sharding::none, again)[0], 1e-6, cat("sharding ", static_cast<int>(sharding)));
    // The first step taught it to wait; a layer's are whole when the pass leaves the layer.
    if (sharding != Sharding::parameters) {
      EXPECT_EQ(two[0].early, 0);
    }
  }
}

TEST(ShardedOptimizer, AccumulatesBeforeItSendsOrAfter) {
  How three{.passes = 3, .uneven = true};
  auto whole = chains(2, Sharding::none, three), once = chains(2, Sharding::optimizer, three),
       each = chains(2, Sharding::gradients, three), layers = chains(2, Sharding::parameters, three);
  expect_same(once, whole[0], 0, "optimizer");
  expect_same(each, whole[0], 1e-6, "gradients");
  expect_same(layers, each[0], 0, "parameters");
  EXPECT_EQ(each[0].sent, 3 * once[0].sent);
  EXPECT_EQ(each[1].sent, each[0].sent);  // which has one micro-batch less
  EXPECT_EQ(layers[1].sent, layers[0].sent);
}

TEST(ShardedOptimizer, SaysWhereAStateDoesNotFit) {
  auto all = on(3, Sharding::optimizer, 0, 1);
  auto parameters = weights();
  Optimizer optimizer(parameters, options());
  EXPECT_EQ(
      message_of([&] {
        optimizer.load_state({all[0].state, all[2].state});
      }),
      "[checkpoint] the optimizer's state holds 224 of 336 weights; are all files of its trainer directory there, "
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
}  // namespace rft::sharded_optimizer_test
