/// Answers in pieces, and by a copy of the model: what the whole batch and the model itself give.
#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

#include "policy/decoder_copy.h"
#include "rft/core/rng.h"
#include "rft/io/files.h"
#include "rft/io/hf_directory.h"
#include "rft/policy/lm_sampler.h"
#include "support.h"

namespace rft::lm_pieces_test {
namespace {

Decoder loaded(const std::string& name) {
  const std::string directory = testing::fixture("parity/data/decoders/" + name), file = directory + "/config.json";
  return {DecoderConfig::from_json(read_text(file), file), load_hf_tensors(directory), at::kFloat, directory};
}

std::vector<std::vector<int64_t>> some_prompts(const Decoder& decoder) {
  std::vector<std::vector<int64_t>> out;
  for (uint64_t i = 0; i < 7; ++i) {
    out.emplace_back();
    for (uint64_t t = 0; t < 2 + 3 * i; ++t)
      out.back().push_back(
          static_cast<int64_t>(Rng(5, i).below(t, static_cast<uint64_t>(decoder.config().vocab_size))));
  }
  return out;
}

SamplerOptions ends_soon() {
  SamplerOptions options;
  options.max_new_tokens = 12, options.batch_size = 6, options.eos_ids = {1, 2, 3, 4, 5};
  return options;
}

/// The rows beside a row decide the last bits of its log-probabilities.
void expect_same(const SampledRow& a, const SampledRow& b) {
  ASSERT_EQ(a.ids, b.ids);
  for (size_t t = 0; t < a.logp.size(); ++t) EXPECT_NEAR(a.logp[t], b.logp[t], 1e-5);
  EXPECT_EQ(a.truncated, b.truncated);
}

TEST(LmPieces, GiveTheRowsOfTheWholeBatch) {
  const Decoder decoder = loaded("qwen2_tied");
  const auto prompts = some_prompts(decoder);
  const auto whole = sample_rows(decoder, nullptr, prompts, 3, 9, false, ends_soon());
  for (int64_t at_once : {0, 1, 5, 100}) {
    const std::vector<Piece> pieces{{4, 2}, {0, 1}, {6, 1}, {1, 3}};
    size_t handed_out = 0;
    int64_t begun = 0, done = 0;
    std::vector<SampledRow> rows(whole.size());
    RowWork work;
    work.rows_at_once = at_once;
    work.next = [&]() -> std::optional<Piece> {
      EXPECT_LT(begun - done, at_once ? at_once : 6) << "there was no room for more";
      if (handed_out == pieces.size()) return {};
      begun += pieces[handed_out].count * 3;
      return pieces[handed_out++];
    };
    work.finished = [&](const Piece& piece, std::vector<SampledRow> made) {
      ASSERT_EQ(static_cast<int64_t>(made.size()), piece.count * 3);
      std::move(made.begin(), made.end(), rows.begin() + piece.first * 3);
    };
    sample_row_pieces(decoder, nullptr, prompts, 3, 9, false, ends_soon(), work,
                      [&](int64_t rows_done, int64_t) { done = rows_done; });
    EXPECT_EQ(handed_out, pieces.size());
    for (size_t i = 0; i < rows.size(); ++i) expect_same(rows[i], whole[i]);
  }
}

TEST(LmPieces, OnlyWhatIsHandedOutIsSampled) {
  const Decoder decoder = loaded("gpt2");
  const auto prompts = some_prompts(decoder);
  std::vector<int64_t> firsts;
  bool asked = false;
  RowWork work;
  work.next = [&]() -> std::optional<Piece> {
    if (std::exchange(asked, true)) return {};
    return Piece{3, 2};
  };
  work.finished = [&](const Piece& piece, const std::vector<SampledRow>& rows) {
    firsts.push_back(piece.first);
    EXPECT_EQ(rows.size(), 4u);
  };
  sample_row_pieces(decoder, nullptr, prompts, 2, 9, false, ends_soon(), work);
  EXPECT_EQ(firsts, std::vector<int64_t>{3});
}

TEST(DecoderCopy, KeepsWhatIsTrainedAndSharesWhatIsFrozen) {
  for (const char* name : {"qwen2_tied", "gpt2", "olmo2", "mixtral"})
    for (bool adapters : {false, true}) {
      if (adapters && std::string(name) == "mixtral") continue;
      Decoder decoder = loaded(name);
      LoraConfig lora;
      lora.rank = 2;
      if (adapters) add_lora(decoder, lora, 3);
      if (!adapters)
        for (auto& [tensor, value] : decoder.weights().named()) value.requires_grad_(true);
      const auto prompts = some_prompts(decoder);
      const Decoder copy = copied_trained(decoder);
      const DecoderWeights &was = decoder.weights(), &is = copy.weights();
      EXPECT_EQ(is.head.is_same(is.token_embedding), was.head.is_same(was.token_embedding));
      EXPECT_EQ(is.token_embedding.const_data_ptr() == was.token_embedding.const_data_ptr(), adapters);
      EXPECT_EQ(is.layers[0].qkv.weight.const_data_ptr() == was.layers[0].qkv.weight.const_data_ptr(), adapters);
      const auto before = sample_rows(decoder, nullptr, prompts, 2, 9, false, ends_soon());
      {
        const at::NoGradGuard no_grad;
        if (adapters)
          for (Adapter& adapter : decoder.weights().layers[0].qkv.adapters) adapter.b.add_(1);
        else
          for (auto& [tensor, value] : decoder.weights().named()) value.mul_(1.5);
      }
      const auto after = sample_rows(decoder, nullptr, prompts, 2, 9, false, ends_soon()),
                 copied = sample_rows(copy, nullptr, prompts, 2, 9, false, ends_soon());
      bool moved = false;
      for (size_t i = 0; i < before.size(); ++i) {
        expect_same(copied[i], before[i]);
        moved |= after[i].logp != before[i].logp;
      }
      EXPECT_TRUE(moved);
    }
}

}  // namespace
}  // namespace rft::lm_pieces_test
