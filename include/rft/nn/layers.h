#pragma once
/// The layers that all architectures are built of, and low-rank additions to them.
#include <memory>
#include <string>
#include <vector>

#include "rft/core/tensor.h"

namespace rft {

/// A low-rank addition to some rows of a Linear: y[first : first + rows] += scale * (x A^T) B^T. With a magnitude
/// (DoRA, Liu et al. 2024, arXiv:2402.09353) these rows of y, without bias, are then multiplied by
/// magnitude / |W + scale B A|, each row's length being taken without gradient, as the paper and PEFT do.
struct Adapter {
  /// `set` of adapters that are part of what the others stand beside: never trained, and there where those are not.
  static constexpr int64_t kFrozen = -1;

  std::string module;  ///< Hugging Face module path, "model.layers.0.self_attn.q_proj"
  Tensor a;            ///< [r, in]
  Tensor b;            ///< [rows, r]
  int64_t first = 0, rows = 0;
  double scale = 1;
  Tensor magnitude = {};  ///< [rows], or undefined
  /// 0: the model's own; above 0: of a set that a sampled row chooses (rft serve --adapter); kFrozen
  /// (policy.frozen_adapters).
  int64_t set = 0;
};

/// y = x W^T + bias. q, k and v are rows of one Linear, as are gate and up: fewer and larger products.
struct Linear {
  Tensor weight;  ///< [out, in]
  Tensor bias;    ///< [out], or undefined
  std::vector<Adapter> adapters;
  Tensor scale = {};  ///< where weight holds codes (rft/ops/quantized.h), what they are multiplied by; else undefined

  /// Rows of the weight as numbers of `type`.
  Tensor rows(int64_t first, int64_t count, at::ScalarType type) const;
};

/// What DoRA multiplies an adapter's rows by, [rows] float32 (float64 of float64 weights), differentiable in the
/// magnitude.
Tensor dora_gain(const Linear& linear, const Adapter& adapter);

/// What the columns of a Linear's output, without bias, are multiplied by for DoRA, [out], 1 where there is none;
/// undefined where no adapter has a magnitude.
Tensor column_gains(const Linear& linear);

struct Norm {
  Tensor weight, bias;  ///< [D]; bias undefined for RMSNorm
};

struct Conv2d {
  Tensor weight;  ///< [out, in, k, k]
  Tensor bias;    ///< [out], or undefined
  int64_t stride = 1, padding = 0;
};

/// x [..., in] -> [..., out].
Tensor apply(const Linear& linear, const Tensor& x, bool adapters = true);
/// x [N, in, h, w] -> [N, out, h', w'].
Tensor apply(const Conv2d& conv, const Tensor& x);
/// Over the last dimension.
Tensor layer_norm(const Norm& norm, const Tensor& x, double eps);
/// Over channels in `groups`; x [N, C, ...].
Tensor group_norm(const Norm& norm, const Tensor& x, int64_t groups, double eps);
/// "silu" ("swish"), "gelu", "gelu_new" / "gelu-approximate" (tanh), "quick_gelu", "relu", "mish". Throws UserError
/// naming `where` for another name.
Tensor activate(const std::string& name, const Tensor& x, const std::string& where);

}  // namespace rft
