#pragma once
/// One forward pass of a Decoder over new tokens, on the CPU, with a paged key/value cache and no autograd.
#include <cstdint>
#include <vector>

#include "rft/dist/exchange.h"
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
  std::vector<int64_t> sets;              ///< of adapters, that token n goes through; empty: 0, the model's own
  std::vector<ops::AttentionTile> tiles;  ///< together they hold every token once
  std::vector<int64_t> outputs;           ///< the tokens whose logits are wanted

  int64_t tokens() const { return static_cast<int64_t>(ids.size()); }
  void clear();
};

/// Reads the decoder's own weights (converted copies only where their type is neither float32 nor bfloat16), adapters
/// included; valid while the decoder lives and its tensors keep their storage. Activations are float32. Of a divided
/// decoder forward() is collective, with the same batch in all processes, and all get the same bits.
class DecodeModel {
 public:
  /// The decoder must be on the CPU.
  explicit DecodeModel(const Decoder& decoder);

  const ops::KvLayout& kv_layout() const { return layout_; }
  int64_t vocab() const { return group_ ? config_.vocab_size : head_.out; }
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
    int64_t set;
  };
  struct LinearView {
    ops::MatrixView weight;
    Vector bias;
    std::vector<AdapterView> adapters;
    Vector gains;  ///< DoRA's, of all columns of the output before the bias
  };
  struct NormView {
    Vector weight, bias;
  };
  struct ExpertView {
    LinearView gate_up, down;
  };
  struct LayerView {
    NormView attention_norm, mlp_norm, attention_post_norm, mlp_post_norm, q_norm, k_norm;
    LinearView qkv, out, gate_up, down, router;
    std::vector<ExpertView> experts;
  };
  /// Angles as far as they are known yet.
  struct Angles {
    std::vector<float> cos, sin;  ///< [position, turning numbers of a head / 2]
  };

  ops::MatrixView matrix(const Tensor& weight);
  Vector vector(const Tensor& values);
  NormView norm(const Norm& norm);
  LayerView layer(const DecoderLayer& layer);
  LinearView linear(const Linear& linear);

  void embed(const DecodeBatch& batch);
  void sum_parts(float* values, int64_t count) const;
  void add_parts(const LinearView& last, const float* x, int64_t rows, float* y);
  void gather_logits(int64_t outputs);
  void extend(Angles& angles, const Rotary& rotary, int64_t positions) const;
  void normalise(const NormView& norm, const float* x, int64_t rows, float* y) const;
  const float* normed_stream(const NormView& norm, int64_t rows);
  void add_normed(const NormView& norm, const LinearView& last, const float* x, int64_t rows);
  void normalise_heads(const LayerView& layer, float* q, float* k) const;
  void apply(const LinearView& linear, const float* x, int64_t rows, float* y, bool add);
  void apply_gained(const LinearView& linear, const float* x, int64_t rows, float* y, bool add);
  void add_low_rank(const LinearView& linear, const float* x, int64_t rows, float* y);
  void place_heads(const LayerView& layer, int64_t index, const DecodeBatch& batch);
  void attention(const LayerView& layer, int64_t index, const DecodeBatch& batch);
  void mlp(const LayerView& layer, int64_t rows);
  const float* activated(const LinearView& gate_up, const float* x, int64_t rows, int64_t width);
  void experts(const LayerView& layer, int64_t rows);
  void choose_experts(const LayerView& layer, const float* x, int64_t rows);

  DecoderConfig config_;
  Communicator* group_;  ///< who has the other parts of a divided decoder; null of a whole one
  Share vocabulary_;     ///< which tokens embedding and head have here
  ops::KvLayout layout_;
  ops::Activation activation_;
  float embedding_scale_;      ///< rounded to the weights' type, as in training
  std::vector<Tensor> owned_;  ///< converted copies
  ops::MatrixView embedding_, head_;
  Tensor positions_;
  std::vector<LayerView> layers_;
  NormView final_norm_;
  const std::vector<int64_t>* sets_ = nullptr;  ///< of the batch that forward() is at
  Angles angles_, local_angles_;
  std::vector<float> hidden_, normed_, qkv_, mixed_, wide_, gated_, low_rank_, gained_, added_, logits_, shared_;
  struct Choice {
    int64_t row;
    float weight;
  };
  std::vector<std::vector<Choice>> choices_;  ///< of each expert, in the order of the rows
  std::vector<float> gathered_, routing_, produced_;
};

}  // namespace rft
