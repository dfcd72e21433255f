#pragma once
/// One forward pass of a Decoder over new tokens, on the CPU, with a paged key/value cache and no autograd.
#include <cstdint>
#include <vector>

#include "rft/nn/decoder.h"
#include "rft/ops/decode_attention.h"
#include "rft/ops/decode_layer.h"
#include "rft/ops/decode_linear.h"

namespace rft {

/// New tokens of any number of sequences, a sequence's own in order of their positions.
struct DecodeBatch {
  std::vector<int64_t> ids, positions;
  std::vector<float*> pages;  ///< token n's keys and values go to pages[n] at its slots[n]
  std::vector<int64_t> slots;
  std::vector<ops::AttentionTile> tiles;  ///< together they hold every token once
  std::vector<int64_t> outputs;           ///< the tokens whose logits are wanted

  int64_t tokens() const { return static_cast<int64_t>(ids.size()); }
  void clear();
};

/// Reads the decoder's own weights (converted copies only where their type is neither float32 nor bfloat16), adapters
/// included; valid while the decoder lives and its tensors keep their storage. Activations are float32.
class DecodeModel {
 public:
  /// The decoder must be on the CPU.
  explicit DecodeModel(const Decoder& decoder);

  const ops::KvLayout& kv_layout() const { return layout_; }
  int64_t vocab() const { return head_.out; }
  /// Logits of batch.outputs, [outputs, vocab], valid until the next call.
  const float* forward(const DecodeBatch& batch);

 private:
  struct Vector {
    const float* data = nullptr;  ///< null where the decoder has none
  };
  struct AdapterView {
    ops::MatrixView a, b;
    int64_t first;
    float scale;
  };
  struct LinearView {
    ops::MatrixView weight;
    Vector bias;
    std::vector<AdapterView> adapters;
  };
  struct NormView {
    Vector weight, bias;
  };
  struct LayerView {
    NormView attention_norm, mlp_norm, q_norm, k_norm;
    LinearView qkv, out, gate_up, down;
  };

  ops::MatrixView matrix(const Tensor& weight);
  Vector vector(const Tensor& values);
  NormView norm(const Norm& norm);
  LinearView linear(const Linear& linear);

  void embed(const DecodeBatch& batch);
  void extend_rotary(int64_t positions);
  void normalise(const NormView& norm, const float* x, int64_t rows, float* y) const;
  void apply(const LinearView& linear, const float* x, int64_t rows, float* y, bool add);
  void place_heads(const LayerView& layer, int64_t index, const DecodeBatch& batch);
  void attention(const LayerView& layer, int64_t index, const DecodeBatch& batch);
  void mlp(const LayerView& layer, int64_t rows);

  DecoderConfig config_;
  ops::KvLayout layout_;
  ops::Activation activation_;
  std::vector<Tensor> owned_;  ///< converted copies
  ops::MatrixView embedding_, head_;
  Tensor positions_;
  std::vector<LayerView> layers_;
  NormView final_norm_;
  std::vector<float> cos_, sin_;  ///< [position, head_dim / 2]
  std::vector<float> hidden_, normed_, qkv_, mixed_, wide_, gated_, low_rank_, logits_;
};

}  // namespace rft
