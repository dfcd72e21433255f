/// Weights that are gathered layer by layer.
#include <ATen/ATen.h>

#include <set>

#include "rft/core/text.h"
#include "rft/nn/layer_gate.h"
#include "rft/train/optimizer.h"
#include "support.h"
#include "thread_ranks.h"

namespace rft::layer_weights_test {
namespace {

using testing::ThreadRanks;

/// Weights outside a layer that computes are not in memory.
TEST(LayerWeights, AreFreedWhereTheirLayerDoesNotCompute) {
  ThreadRanks::run(2, [](Communicator& processes) {
    std::vector<Parameter> layers;
    for (int64_t k = 0; k < 3; ++k) layers.push_back({cat("layers.", k, ".w"), at::ones({40, 40}), true});
    Optimizer optimizer(layers, OptimizerOptions{},
                        {&processes, Sharding::parameters, {{"layers.0.", "layers.1.", "layers.2."}}});
    auto bytes = [&] {
      std::vector<size_t> out;
      for (const auto& layer : layers) out.push_back(layer.value.storage().nbytes());
      return out;
    };
    for (size_t there : bytes()) EXPECT_GE(there, 6400u);
    optimizer.release_weights();
    EXPECT_EQ(bytes(), (std::vector<size_t>{0, 0, 0}));
    optimizer.gate()->enter(1, LayerGate::Pass::forward);
    EXPECT_EQ(bytes()[0], 0u);
    EXPECT_GE(bytes()[1], 6400u);
    EXPECT_TRUE(layers[1].value.equal(at::ones({40, 40})));
    optimizer.gate()->leave(1, LayerGate::Pass::forward);
    EXPECT_EQ(bytes()[1], 0u);
    optimizer.gather_weights();
    EXPECT_TRUE(layers[0].value.equal(at::ones({40, 40})));
  });
}

/// Frozen ones too, which may be codes; what is trained beside them is there always.
TEST(LayerWeights, AreFreedWhereTheyAreFrozen) {
  for (auto type : {at::kFloat, at::kChar})
    ThreadRanks::run(3, [type](Communicator& processes) {
      std::vector<Parameter> frozen;
      for (int64_t k = 0; k < 2; ++k)
        for (const char* name : {".a", ".b"})
          frozen.push_back({cat("layers.", k, name), at::arange(19 * 37).view({19, 37}).to(type)});
      std::vector<Parameter> trained{{"lora", at::ones({5, 7})}};
      Optimizer optimizer(trained, OptimizerOptions{},
                          {&processes, Sharding::parameters, {{"layers.0.", "layers.1."}, frozen}});
      auto bytes = [&](size_t i) { return frozen[i].value.storage().nbytes(); };
      optimizer.release_weights();
      int64_t before = processes.bytes_sent();
      for (size_t i = 0; i < 4; ++i) EXPECT_EQ(bytes(i), 0u);
      for (int64_t layer = 0; layer < 2; ++layer) {
        optimizer.gate()->enter(layer, LayerGate::Pass::forward);
        for (size_t i = 0; i < 2; ++i)
          EXPECT_TRUE(
              frozen[2 * static_cast<size_t>(layer) + i].value.equal(at::arange(19 * 37).view({19, 37}).to(type)));
        optimizer.gate()->leave(layer, LayerGate::Pass::forward);
        EXPECT_EQ(bytes(2 * static_cast<size_t>(layer)), 0u);
      }
      optimizer.forward_done();
      int64_t sent = processes.bytes_sent() - before,
              whole = 4 * 19 * 37 * static_cast<int64_t>(c10::elementSize(type));
      EXPECT_GE(sent, whole * 2 / 3);  // a third of it to two others each
      EXPECT_LE(sent, whole);          // in whole rows
      optimizer.forward_done(2);       // nothing computed here, and two passes elsewhere
      EXPECT_EQ(processes.bytes_sent() - before, 3 * sent);
      EXPECT_GE(trained[0].value.storage().nbytes(), 5u * 7 * 4);
      EXPECT_FALSE(frozen[0].value.requires_grad());
      optimizer.gather_weights();
      EXPECT_TRUE(frozen[3].value.equal(at::arange(19 * 37).view({19, 37}).to(type)));
    });
}

/// So that the allocator's gaps do not grow by a layer with every one that comes.
TEST(LayerWeights, ComeWhereOthersWere) {
  ThreadRanks::run(2, [](Communicator& processes) {
    constexpr int64_t kLayers = 6;
    std::vector<Parameter> layers;
    std::vector<std::string> prefixes;
    for (int64_t k = 0; k < kLayers; ++k) {
      prefixes.push_back(cat("layers.", k, "."));
      layers.push_back({prefixes.back() + "w", at::full({40, 30 + k}, static_cast<double>(k)), true});
    }
    Optimizer optimizer(layers, OptimizerOptions{}, {&processes, Sharding::parameters, {prefixes}});
    optimizer.release_weights();
    std::set<const void*> places;
    for (auto pass : {LayerGate::Pass::forward, LayerGate::Pass::backward})
      for (int64_t i = 0; i < kLayers; ++i) {
        int64_t k = pass == LayerGate::Pass::forward ? i : kLayers - 1 - i;
        const Tensor& w = layers[static_cast<size_t>(k)].value;
        optimizer.gate()->enter(k, pass);
        EXPECT_TRUE(w.eq(static_cast<double>(k)).all().item<bool>()) << k;
        places.insert(w.storage().data());
        optimizer.gate()->leave(k, pass);
      }
    EXPECT_LE(places.size(), 2u);
  });
}

}  // namespace
}  // namespace rft::layer_weights_test
