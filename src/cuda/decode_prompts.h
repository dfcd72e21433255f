#pragma once
/// Prompts: their keys, values and last logits.
#include <memory>
#include <vector>

#include "cuda/decode_forward.h"
#include "cuda/decode_rows.h"

namespace rft::cuda {

/// Sets the groups' logits and fills their pages; `width` is a table's. Long prompts take several passes.
void compute_prompts(DecodeForward& forward, const Tensor& pages, int64_t width,
                     const std::vector<DecodeGroup*>& groups);

/// Copies each sample's group's open page to its first own one.
void copy_open_pages(const Tensor& pages, const std::vector<DecodeRow*>& rows);

}  // namespace rft::cuda
