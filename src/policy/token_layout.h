#pragma once
/// Where the decisions of a batch of token rows lie in a model's packed states.
#include <vector>

#include "rft/core/experience.h"
#include "rft/nn/decoder.h"

namespace rft {

/// Each row is what it goes on from (a prompt; a decoder's start token) and all but the last token of its completion:
/// the last one predicts nothing. N tokens, M decisions. Rows without a decision are left out.
struct TokenLayout {
  Packed packed;
  std::vector<int64_t> rows;  ///< numbers in the batch of the packed rows
  Tensor hidden_index;        ///< [M] int64: the state that predicts decision m
  Tensor decision;            ///< [N] int64: the decision that state n predicts, or -1
  Tensor target;              ///< [M] int64
  Tensor cell;                ///< [M] int64: b * T + t

  /// before [B, P] int64, of which row b's first lengths[b] count; action [B, T] int64, mask [B, T] bool.
  static TokenLayout of(const Tensor& before, const Tensor& lengths, const Tensor& action, const Tensor& mask);
  bool empty() const { return rows.empty(); }
  /// The same with its tensors on `device`.
  TokenLayout to(const at::Device& device) const;
};

/// values [M] at their cells of [B, T], 0 elsewhere.
Tensor to_cells(const Tensor& values, const Tensor& cell, int64_t B, int64_t T);

}  // namespace rft
