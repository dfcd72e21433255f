#include "nn/packed_attention.h"

#include <ATen/ATen.h>
#include <ATen/ops/_flash_attention_forward.h>

namespace rft {

bool can_attend_packed(const Tensor& heads) {
  return heads.is_cuda() && at::isReducedFloatingType(heads.scalar_type()) && heads.size(2) <= 256 &&
         heads.size(2) % 8 == 0;
}

Tensor packed_attention(const Tensor& heads, const PackedRows& rows, const PackedAttention& shape) {
  auto parts = heads.split_with_sizes({shape.heads, shape.kv_heads, shape.kv_heads}, 1);
  std::optional<double> scale;
  if (shape.scale > 0) scale = shape.scale;
  std::optional<int64_t> before, behind;
  if (shape.window > 0) before = shape.window - 1, behind = 0;
  auto out = std::get<0>(at::_flash_attention_forward(
      parts[0], parts[1], parts[2], rows.starts, rows.starts, rows.longest, rows.longest, /*dropout_p=*/0.0,
      /*is_causal=*/true, /*return_debug_mask=*/false, scale, before, behind));
  return out.reshape({heads.size(0), shape.heads * heads.size(2)});
}

}  // namespace rft
