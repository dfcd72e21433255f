#pragma once
/// Tiles of the logits of two models that read the same rows, for functions of their whole distributions.
#include <ATen/ATen.h>

#include <algorithm>
#include <vector>

#include "ops/matmul.h"

namespace rft::ops {

/// Logits are capped where a `softcap` is above 0, then divided by `temperature`.
struct TwoModelShape {
  double temperature, softcap, ref_temperature, ref_softcap;
};

struct TwoModelTile {
  int64_t first, rows;  ///< of N
  Tensor hidden;        ///< [rows, D], in the type that is computed in
  Tensor logits, ref;   ///< [rows, V] of both
  Tensor slope_of_cap;  ///< [rows, V], the derivative of the first model's cap; undefined where there is none
};

/// Calls body(tile) for each tile of `in`: hidden [N, D], weight [V, D], ref_hidden [N, D'], ref_weight [V, D'].
template <class Body>
void for_each_two_model_tile(const std::vector<Tensor>& in, const TwoModelShape& shape, const Body& body) {
  constexpr int64_t kTileElements = 1 << 20, kDeviceElements = 1 << 27;  // a GPU needs more work at once
  const auto type = accumulate_type(in[0]);
  const Tensor weight = in[1].to(type).t(), ref_weight = in[3].to(type).t();
  auto shaped = [](Tensor logits, double softcap, double temperature, Tensor* slope) {
    if (softcap > 0) {
      logits.div_(softcap).tanh_();
      if (slope) *slope = logits.square().neg_().add_(1);
      logits.mul_(softcap);
    }
    return logits.div_(temperature);
  };
  const int64_t height = std::max<int64_t>(1, (in[0].is_cpu() ? kTileElements : kDeviceElements) / in[1].size(0));
  for (int64_t at = 0; at < in[0].size(0); at += height) {
    TwoModelTile tile{at, std::min(height, in[0].size(0) - at), {}, {}, {}, {}};
    tile.hidden = in[0].narrow(0, at, tile.rows).to(type);
    tile.logits = shaped(tile.hidden.matmul(weight), shape.softcap, shape.temperature, &tile.slope_of_cap);
    tile.ref = shaped(in[2].narrow(0, at, tile.rows).to(type).matmul(ref_weight), shape.ref_softcap,
                      shape.ref_temperature, nullptr);
    body(tile);
  }
}

/// The gradients of hidden and weight, of those that are wanted, from each tile's gradient of the logits.
class TwoModelGradients {
 public:
  TwoModelGradients(const Tensor& hidden, const Tensor& weight, bool of_hidden, bool of_weight)
      : hidden_(hidden), weight_(weight) {
    const auto type = accumulate_type(hidden);
    if (of_hidden) grad_hidden_ = at::empty(hidden.sizes(), hidden.options().dtype(type));
    if (of_weight) grad_weight_ = at::zeros(weight.sizes(), weight.options().dtype(type));
  }
  /// `slope` [rows, V], of the tile's logits; it is written to.
  void add(const TwoModelTile& tile, Tensor slope, double temperature) {
    slope.div_(temperature);
    if (tile.slope_of_cap.defined()) slope.mul_(tile.slope_of_cap);
    if (grad_hidden_.defined())
      grad_hidden_.narrow(0, tile.first, tile.rows).copy_(slope.matmul(weight_.to(slope.scalar_type())));
    if (grad_weight_.defined()) grad_weight_.addmm_(slope.t(), tile.hidden);
  }
  Tensor hidden() const { return as(grad_hidden_, hidden_); }
  Tensor weight() const { return as(grad_weight_, weight_); }

 private:
  static Tensor as(const Tensor& gradient, const Tensor& x) {
    return gradient.defined() ? gradient.to(x.scalar_type()) : gradient;
  }
  Tensor hidden_, weight_, grad_hidden_, grad_weight_;
};

}  // namespace rft::ops
