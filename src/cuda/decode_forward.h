#pragma once
/// One forward pass of a Decoder over new tokens on the GPU, with paged keys and values and no autograd. The weights
/// are the decoder's own; the residual stream is float32.
#include <memory>
#include <vector>

#include "kernels/decode_attention.h"
#include "kernels/decode_linear.h"
#include "rft/nn/decoder.h"

namespace rft::cuda {

/// New tokens and where their sequences' pages are. All on the device.
struct TokenBatch {
  Tensor ids, positions;  ///< [N] int32; a negative position: there is no such token
  Tensor row;             ///< [N] int32: rows of the table; undefined: token n is of row n
  Tensor table;           ///< [rows, width] int32
  bool one_each = true;   ///< no two tokens are of one sequence
  int64_t splits = 1;     ///< kernels::attention_splits() of the longest sequence
};

/// The cache: [pages, layers * page_layer_numbers] of the weights' type.
Tensor make_pages(const Decoder& decoder, int64_t pages);
int64_t page_bytes(const Decoder& decoder);

/// What the passes have in common: views of the weights, buffers, attention.
class DecodeForward {
 public:
  virtual ~DecodeForward() = default;
  /// [N, V] float32, or of `outputs` [n] int64 alone where that is defined; valid until the next call.
  virtual Tensor logits(const TokenBatch& batch, const Tensor& pages, const Tensor& outputs) = 0;
  /// Whether a pass never waits for the device.
  virtual bool capturable() const { return true; }
};

/// Any decoder, any number of tokens.
std::unique_ptr<DecodeForward> general_forward(const Decoder& decoder);
/// The kernels of kernels/decode_linear.h, for at most `tokens` tokens; null where the decoder is of another kind than
/// bfloat16 with RMSNorm and a gated MLP, without adapters and experts.
std::unique_ptr<DecodeForward> fused_forward(const Decoder& decoder, int64_t tokens);

/// Attention of one layer, without its tensors: qkv, out, pages and buffers.
kernels::DecodeAttention attention_of(const Decoder& decoder, int64_t layer, const Tensor& q_norm, const Tensor& k_norm,
                                      const Tensor& inv_freq);
/// Adds what it reads and writes. `out` [N, heads * head_dim].
void run_attention(kernels::DecodeAttention a, const TokenBatch& batch, const Tensor& pages, const Tensor& qkv,
                   const Tensor& out, const Tensor& parts, const Tensor& arrived);
/// Its buffers for `tokens` tokens: parts, and counters that are zero.
std::pair<Tensor, Tensor> attention_buffers(const Decoder& decoder, int64_t tokens, int64_t splits);

/// [turning / 2] float32, or undefined.
Tensor inverse_frequencies(const Rotary& rotary, const at::Device& device);
/// A norm's weight as the kernels multiply by it; undefined where there is none.
Tensor norm_weight(const Norm& norm, const DecoderConfig& config);

}  // namespace rft::cuda
