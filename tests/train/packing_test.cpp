// Rows that lie end to end are learned from as rows that are padded, or alone: the same loss, the same gradient.
#include <ATen/ATen.h>

#include <nlohmann/json.hpp>

#include "rft/io/files.h"
#include "rft/io/hf_directory.h"
#include "rft/io/rows.h"
#include "rft/objective/sft.h"
#include "rft/policy/causal_lm.h"
#include "rft/policy/seq2seq_lm.h"
#include "rft/text/tokenizer.h"
#include "rft/train/updater.h"
#include "support.h"

namespace rft::packing_test {
namespace {

Rows texts() {
  return Rows::parse(
      {R"({"prompt": "a small red fox", "completion": "over the sea"})",
       R"({"prompt": "storm", "completion": "the night"})",
       R"({"prompt": "three cats sleeping under the house", "completion": "two dogs and a bird at night"})",
       R"({"prompt": "the boat", "completion": "a"})", R"({"prompt": "a", "completion": "red storm"})"});
}

/// An untrained model and a tokenizer of bytes, as a directory.
void write_model(const std::string& directory) {
  make_tokenizer(directory, {"a small red fox over the sea"}, 280);
  const nlohmann::json config{{"model_type", "qwen2"},
                              {"architectures", {"Qwen2ForCausalLM"}},
                              {"vocab_size", 280},
                              {"hidden_size", 16},
                              {"intermediate_size", 24},
                              {"num_hidden_layers", 2},
                              {"num_attention_heads", 4},
                              {"num_key_value_heads", 2},
                              {"max_position_embeddings", 256},
                              {"hidden_act", "silu"},
                              {"rms_norm_eps", 1e-6},
                              {"rope_theta", 10000.0},
                              {"initializer_range", 0.3},
                              {"tie_word_embeddings", true}};
  write_text(directory + "/config.json", config.dump());
  save_hf_tensors(
      directory, random_decoder(DecoderConfig::from_json(config.dump(), "test"), at::kFloat, 3).hugging_face_tensors());
}

struct Learned {
  double loss = 0;
  std::vector<Tensor> gradients;
};

void expect_same(const Learned& a, const Learned& b) {
  EXPECT_NEAR(a.loss, b.loss, 1e-11);
  ASSERT_EQ(a.gradients.size(), b.gradients.size());
  for (size_t i = 0; i < a.gradients.size(); ++i)
    EXPECT_LE(a.gradients[i].sub(b.gradients[i]).abs().max().item<double>(), 1e-11) << i;
}

template <class Policy>
Learned gradients_of(Policy& policy, const Tensor& loss) {
  Learned out{loss.item<double>(), {}};
  loss.backward();
  for (auto& parameter : policy.parameters()) {
    out.gradients.push_back(parameter.value.grad().clone());
    Tensor(parameter.value).mutable_grad().reset();
  }
  return out;
}

class CausalPacking : public ::testing::Test {
 protected:
  CausalPacking() { write_model(dir_.path()); }
  std::unique_ptr<CausalLm> policy() const {
    return std::make_unique<CausalLm>(CausalLm::Options{.path = dir_.path(), .dtype = "float64"});
  }
  testing::TempDir dir_;
};

TEST_F(CausalPacking, PackedIsPaddedIsOneByOne) {
  const auto made = this->policy();
  CausalLm& policy = *made;
  Experience batch = policy.demonstrations(texts());
  batch.fill_totals();
  Sft sft{Sft::Options{}};
  const Needs needs = sft.needs();
  const Learned packed = gradients_of(policy, sft.loss(policy.evaluate(batch, needs), batch).total());
  EXPECT_GT(packed.loss, 1);

  Tensor sum;
  for (int64_t b = 0; b < batch.rows(); ++b) {
    const Experience one = batch.select(at::tensor({b}));
    const Tensor loss = sft.loss(policy.evaluate(one, needs), one).total();
    sum = sum.defined() ? sum.add(loss) : loss;
  }
  expect_same(gradients_of(policy, sum), packed);

  // The rectangle that others compute: every row as long as the longest, what is behind its end left out of the loss.
  const Tensor prompts = batch.context.tensor("prompt_ids"), lengths = batch.context.tensor("prompt_length");
  const int64_t B = batch.rows(), T = prompts.size(1) + batch.action.size(1);
  Tensor ids = at::zeros({B, T}, at::kLong), cells = at::zeros({B, T}, at::kBool);
  for (int64_t b = 0; b < B; ++b) {
    const int64_t P = lengths[b].item<int64_t>(), n = batch.mask[b].sum().item<int64_t>();
    ids[b].narrow(0, 0, P).copy_(prompts[b].narrow(0, 0, P));
    ids[b].narrow(0, P, n).copy_(batch.action[b].narrow(0, 0, n)), cells[b].narrow(0, P - 1, n).fill_(true);
  }
  const std::vector<int64_t> rows(static_cast<size_t>(B), T);
  const Tensor logits = policy.decoder().forward({ids.flatten(), rows}, {}).matmul(policy.decoder().weights().head.t());
  const Tensor next = at::cat({ids.narrow(1, 1, T - 1), at::zeros({B, 1}, at::kLong)}, 1).flatten();
  const Tensor logp = logits.log_softmax(1).gather(1, next.unsqueeze(1)).squeeze(1).masked_select(cells.flatten());
  expect_same(gradients_of(policy, logp.mean().neg()), packed);
}

/// The gradient, read from Adam's first moment after one step.
std::pair<double, Tensor> stepped(Policy& policy, const UpdateOptions& options, double* packs = nullptr) {
  Optimizer optimizer(policy.parameters(), {});
  Sft sft{Sft::Options{}};
  Experience batch = policy.demonstrations(texts());
  Metrics metrics;
  EXPECT_TRUE(update(policy, sft, optimizer, batch, sft.needs(), options, metrics).finite);
  if (packs) *packs = metrics.mean("packing/packs");
  EXPECT_GE(metrics.mean("packing/padding"), 0);
  return {metrics.mean("loss"), optimizer.state().at("mean").clone()};
}

void any_micro_batches(const std::function<std::unique_ptr<Policy>()>& make) {
  auto whole_policy = make();
  const auto [loss, gradient] = stepped(*whole_policy, {});
  EXPECT_GT(gradient.abs().max().item<double>(), 1e-4);
  for (UpdateOptions options : {UpdateOptions{.micro_batch_size = 1}, UpdateOptions{.micro_batch_size = 2},
                                UpdateOptions{.micro_batch_tokens = 1}, UpdateOptions{.micro_batch_tokens = 20}}) {
    auto policy = make();
    double packs = 0;
    const auto [same, again] = stepped(*policy, options, &packs);
    EXPECT_NEAR(same, loss, 1e-11);
    EXPECT_TRUE(at::allclose(again, gradient, 1e-9, 1e-12));
    EXPECT_GT(packs, 1);
  }
}

TEST_F(CausalPacking, SoDoMicroBatchesOfAnySizeInRowsOrTokens) {
  any_micro_batches([this] { return policy(); });
}

TEST(Seq2SeqPacking, SoDoThoseOfEncoderDecoderModels) {
  for (const char* name : {"v1_1", "bart"})
    any_micro_batches([name] {
      return std::make_unique<Seq2SeqLm>(
          Seq2SeqLm::Options{.path = testing::fixture(std::string("parity/data/seq2seq/") + name), .dtype = "float64"});
    });
}

}  // namespace
}  // namespace rft::packing_test
