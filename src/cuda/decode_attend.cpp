#include <ATen/ATen.h>

#include <cmath>

#include "cuda/decode_forward.h"
#include "cuda/runtime.h"

namespace rft::cuda {

int64_t page_bytes(const Decoder& decoder) {
  const DecoderConfig& c = decoder.config();
  return c.layers * kernels::page_layer_numbers(static_cast<int>(c.kv_heads), static_cast<int>(c.head_dim)) *
         static_cast<int64_t>(decoder.weights().token_embedding.element_size());
}

Tensor make_pages(const Decoder& decoder, int64_t pages) {
  // Zeros: positions that were never written are multiplied by weights of zero.
  const Tensor& like = decoder.weights().token_embedding;
  return at::zeros({pages, page_bytes(decoder) / static_cast<int64_t>(like.element_size())},
                   like.options().requires_grad(false));
}

Tensor inverse_frequencies(const Rotary& rotary, const at::Device& device) {
  if (rotary.inv_freq.empty()) return {};
  return at::tensor(rotary.inv_freq, at::kDouble).to(at::kFloat).to(device);
}

Tensor norm_weight(const Norm& norm, const DecoderConfig& config) {
  if (!norm.weight.defined()) return {};
  Tensor weight = norm.weight.detach();
  return (config.norm_plus_one ? weight.add(1) : weight).contiguous();
}

kernels::DecodeAttention attention_of(const Decoder& decoder, int64_t layer, const Tensor& q_norm, const Tensor& k_norm,
                                      const Tensor& inv_freq) {
  const DecoderConfig& c = decoder.config();
  const LayerKind& kind = c.kinds[static_cast<size_t>(layer)];
  const Rotary& rotary = kind.local_rope ? c.local_rotary : c.rotary;
  kernels::DecodeAttention a;
  if (q_norm.defined()) a.q_norm = q_norm.const_data_ptr(), a.k_norm = k_norm.const_data_ptr();
  if (c.rope && kind.rope && inv_freq.defined()) {
    a.inv_freq = inv_freq.const_data_ptr<float>(), a.turning = static_cast<int>(2 * inv_freq.numel());
    a.rope_scale = static_cast<float>(rotary.scale);
  }
  a.norm_eps = static_cast<float>(c.norm_eps);
  a.scale =
      static_cast<float>(c.attention_scale > 0 ? c.attention_scale : 1 / std::sqrt(static_cast<double>(c.head_dim)));
  a.softcap = static_cast<float>(c.attention_softcap), a.window = static_cast<int>(kind.window);
  a.heads = static_cast<int>(c.heads), a.kv_heads = static_cast<int>(c.kv_heads);
  a.head_dim = static_cast<int>(c.head_dim);
  a.page_stride = layer;  // run_attention() turns it into numbers
  return a;
}

void run_attention(kernels::DecodeAttention a, const TokenBatch& batch, const Tensor& pages, const Tensor& qkv,
                   const Tensor& out, const Tensor& parts, const Tensor& arrived) {
  const int64_t layer = a.page_stride, numbers = kernels::page_layer_numbers(a.kv_heads, a.head_dim);
  a.pages_float = pages.scalar_type() == at::kFloat, a.qkv_float = qkv.scalar_type() == at::kFloat;
  a.pages = static_cast<char*>(pages.data_ptr()) + layer * numbers * static_cast<int64_t>(pages.element_size());
  a.page_stride = pages.size(1), a.qkv = qkv.const_data_ptr(), a.out = out.data_ptr();
  a.table = batch.table.const_data_ptr<int>(), a.table_width = static_cast<int>(batch.table.size(1));
  a.row = batch.row.defined() ? batch.row.const_data_ptr<int>() : nullptr;
  a.position = batch.positions.const_data_ptr<int>(), a.tokens = static_cast<int>(batch.positions.numel());
  a.splits = static_cast<int>(batch.splits), a.append = batch.one_each;
  a.parts = parts.defined() ? parts.data_ptr<float>() : nullptr;
  a.arrived = arrived.data_ptr<int>();
  if (!a.append) check(kernels::decode_append(a, stream()), "decode_append");
  check(kernels::decode_attention(a, stream()), "decode_attention");
}

std::pair<Tensor, Tensor> attention_buffers(const Decoder& decoder, int64_t tokens, int64_t splits) {
  const DecoderConfig& c = decoder.config();
  const auto options = decoder.weights().token_embedding.options().requires_grad(false);
  const int64_t numbers = kernels::attention_parts(static_cast<int>(tokens), static_cast<int>(c.heads),
                                                   static_cast<int>(c.head_dim), static_cast<int>(splits));
  return {at::empty({numbers}, options.dtype(at::kFloat)), at::zeros({tokens * c.heads}, options.dtype(at::kInt))};
}

}  // namespace rft::cuda
