#pragma once
/// Draws the next token of every slot on the GPU, as ops::sample_token() draws it, and moves the slots on. A slot is
/// one sample in the making.
#include <cstdint>

namespace rft::kernels {

constexpr int kSlotEos = 8;         ///< ids that end a sample which the GPU knows of; the host knows all
constexpr int kSampleChunk = 2048;  ///< logits that share one partial sum

struct DecodeSlot {
  uint64_t seed = 0, stream = 0;
  double scale = 1;  ///< 1 / temperature
  double top_p = 1, min_p = 0;
  float penalty = 1;  ///< of repetition
  int top_k = 0;      ///< 0: off
  int greedy = 0;
  int drawn = 0;  ///< tokens so far: the number of the next draw
  int max_new = 0;
  int eos_count = 0;
  int eos[kSlotEos] = {};
};

struct SampledEntry {
  int id;
  float logp, entropy;
  int unused;
};

/// Sums over a chunk of a row, for the distribution that is reported and for the one that is drawn from (with the
/// repetition penalty).
struct SampleSums {
  float max, sum, weighted;  ///< sum of e = exp(scale (z - max)), of e scale (z - max)
  float choice_max, choice_sum;
};

struct DecodeSample {
  const float* logits = nullptr;  ///< [rows, V]
  const int* row = nullptr;       ///< [N]: the logits of each; null: the n-th
  const int* slot = nullptr;      ///< [N]: the slot; null: the n-th
  int count = 0, vocab = 0;
  float softcap = 0;  ///< logits are softcap tanh(logit / softcap); 0: as they are
  DecodeSlot* slots = nullptr;
  int* token = nullptr;         ///< [slots]: the last token
  int* position = nullptr;      ///< [slots]: of that token; negative: the slot is idle, and stays as it is
  unsigned* seen = nullptr;     ///< [slots, (V + 31) / 32]: bits of the ids that the penalty applies to
  SampleSums* sums = nullptr;   ///< [N, chunks of V]
  SampledEntry* out = nullptr;  ///< [slots, ring]: draw d goes to d % ring
  int ring = 1;
  int* failed = nullptr;  ///< set to 1 where logits are not finite
};

/// Returns a cudaError_t, 0 = success.
int decode_sample(const DecodeSample& a, void* stream);

}  // namespace rft::kernels
