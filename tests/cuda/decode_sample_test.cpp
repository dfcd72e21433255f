#include "kernels/decode_sample.h"

#include <ATen/ATen.h>

#include <limits>

#include "cuda/decode_slots.h"
#include "on_device.h"
#include "rft/core/rng.h"
#include "rft/ops/decode_sample.h"
#include "support.h"

namespace rft::cuda::decode_sample_test {
namespace {

using testing::device;
using testing::on_device;

kernels::DecodeSlot state_of(const ops::TokenSampling& o, int64_t n) {
  kernels::DecodeSlot s;
  s.seed = 7, s.stream = static_cast<uint64_t>(n), s.greedy = o.temperature == 0;
  s.scale = s.greedy ? 1 : 1 / o.temperature, s.top_p = o.top_p, s.min_p = o.min_p;
  s.top_k = static_cast<int>(o.top_k), s.penalty = static_cast<float>(o.repetition_penalty), s.max_new = 1000;
  return s;
}

/// Draws twice from `logits` [rows, V] with each option's filters, and compares with ops::sample_token().
void expect_as_on_the_cpu(const Tensor& logits, const ops::TokenSampling& o, const std::vector<int64_t>& seen) {
  const int64_t rows = logits.size(0), vocab = logits.size(1);
  DecodeSlots slots(rows, 1, vocab, device());
  std::vector<SlotStart> starts;
  for (int64_t n = 0; n < rows; ++n) {
    std::vector<unsigned> bits(static_cast<size_t>((vocab + 31) / 32));
    for (int64_t id : seen) bits[static_cast<size_t>(id / 32)] |= 1u << id % 32;
    starts.push_back({n, state_of(o, n), 0, 3, {}, bits});
  }
  slots.start(starts);
  Tensor on = on_device(logits);
  slots.sample(on, rows, 0), slots.sample(on, rows, 0);
  auto copied = slots.copy(rows);
  copied.event.wait();
  EXPECT_EQ(*copied.failed.const_data_ptr<int>(), 0);
  for (int64_t n = 0; n < rows; ++n) {
    std::vector<int64_t> before = seen;
    for (int64_t draw : {0, 1}) {
      const auto want = ops::sample_token(logits[n].const_data_ptr<float>(), vocab, o, before,
                                          Rng(7, static_cast<uint64_t>(n)).uniform(static_cast<uint64_t>(draw)));
      const kernels::SampledEntry& got = copied.at(n, draw);
      EXPECT_EQ(got.id, want.id) << "row " << n << ", temperature " << o.temperature << ", top_k " << o.top_k
                                 << ", top_p " << o.top_p << ", min_p " << o.min_p;
      EXPECT_NEAR(got.logp, want.logp, got.id == want.id ? 1e-4 : INFINITY);
      EXPECT_NEAR(got.entropy, want.entropy, 1e-4);
      before.push_back(got.id);
    }
  }
}

TEST(DecodeSample, draws_what_the_cpu_draws) {
  at::manual_seed(6);
  for (int64_t vocab : {5, 300, 4500}) {
    const Tensor logits = at::randn({vocab > 1000 ? 2 : 4, vocab}).mul(3), tied = logits.mul(2).round().div(2);
    std::vector<int64_t> seen;
    for (int64_t i = 0; i < 10; ++i) seen.push_back(i * 37 % vocab);
    for (const ops::TokenSampling& o :
         {ops::TokenSampling{}, ops::TokenSampling{0.7, 0, 1, 0, 1.3}, ops::TokenSampling{0, 0, 1, 0, 1.2},
          ops::TokenSampling{1, 5}, ops::TokenSampling{1, 0, 0.9}, ops::TokenSampling{0.8, 20, 0.7},
          ops::TokenSampling{1.3, 0, 1, 0.1}, ops::TokenSampling{1, 10, 0.95, 0.02, 1.1}, ops::TokenSampling{1, 0, 0}})
      expect_as_on_the_cpu(logits, o, seen), expect_as_on_the_cpu(tied, o, seen);
  }
}

TEST(DecodeSample, frequencies_are_the_probabilities) {
  const int64_t rows = 256, draws = 8;
  const Tensor logits = at::log(at::tensor({0.1, 0.2, 0.3, 0.4})).to(at::kFloat).expand({rows, 4}).contiguous();
  DecodeSlots slots(rows, 1, 4, device());
  std::vector<SlotStart> starts;
  for (int64_t n = 0; n < rows; ++n) starts.push_back({n, state_of({}, n), 0, 3, {}, {}});
  slots.start(starts);
  Tensor on = on_device(logits);
  for (int64_t d = 0; d < draws; ++d) slots.sample(on, rows, 0);
  auto copied = slots.copy(rows);
  copied.event.wait();
  std::vector<double> share(4);
  for (int64_t n = 0; n < rows; ++n)
    for (int64_t d = 0; d < draws; ++d) share[static_cast<size_t>(copied.at(n, d).id)] += 1.0 / (rows * draws);
  for (size_t i = 0; i < 4; ++i) EXPECT_NEAR(share[i], 0.1 * static_cast<double>(i + 1), 0.04);
}

TEST(DecodeSample, logits_that_are_not_finite_are_reported) {
  for (float bad : {std::numeric_limits<float>::quiet_NaN(), std::numeric_limits<float>::infinity()}) {
    DecodeSlots slots(1, 1, 40, device());
    slots.start({{0, state_of({}, 0), 0, 3, {}, {}}});
    Tensor logits = at::randn({1, 40});
    logits[0][17] = bad;
    slots.sample(on_device(logits), 1, 0);
    auto copied = slots.copy(1);
    copied.event.wait();
    EXPECT_EQ(*copied.failed.const_data_ptr<int>(), 1);
  }
}

}  // namespace
}  // namespace rft::cuda::decode_sample_test
