#include "rft/nn/mlp.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

#include <cmath>

#include "rft/core/error.h"
#include "rft/core/noise.h"
#include "rft/core/rng.h"

namespace rft {
namespace {

/// Orthonormal rows or columns, whichever are fewer, times `gain`.
Tensor orthogonal(int64_t out, int64_t in, double gain, uint64_t seed) {
  int64_t tall = std::max(out, in), narrow = std::min(out, in);
  Tensor noise = standard_normal({seed}, {tall, narrow}).squeeze(0).to(at::kDouble);
  auto [q, r] = at::linalg_qr(noise);
  q = q.mul(r.diagonal().sign().unsqueeze(0));
  if (out < in) q = q.t();
  return q.mul(gain).to(at::kFloat).contiguous();
}

}  // namespace

Mlp::Mlp(const std::vector<int64_t>& widths, std::string activation, double last_gain, uint64_t seed)
    : activation_(std::move(activation)) {
  for (size_t i = 0; i + 1 < widths.size(); ++i) {
    double gain = i + 2 == widths.size() ? last_gain : std::sqrt(2.0);
    ops::MlpLayer layer;
    layer.weight = orthogonal(widths[i + 1], widths[i], gain, mix(seed, i)).requires_grad_(true);
    layer.bias = at::zeros({widths[i + 1]}, at::kFloat).requires_grad_(true);
    layers_.push_back(std::move(layer));
  }
}

Tensor Mlp::operator()(const Tensor& x) const {
  Tensor y = ops::mlp(x.dim() == 2 ? x : x.reshape({-1, x.size(-1)}), layers_, activation_);
  if (x.dim() == 2) return y;
  auto shape = x.sizes().vec();
  shape.back() = y.size(1);
  return y.view(shape);
}

std::vector<std::pair<std::string, Tensor>> Mlp::tensors(const std::string& name) const {
  std::vector<std::pair<std::string, Tensor>> out;
  for (size_t i = 0; i < layers_.size(); ++i) {
    out.emplace_back(cat(name, ".", i, ".weight"), layers_[i].weight);
    out.emplace_back(cat(name, ".", i, ".bias"), layers_[i].bias);
  }
  return out;
}

Mlp Mlp::fixed() const {
  Mlp out = *this;
  for (auto& layer : out.layers_) layer.weight = layer.weight.detach(), layer.bias = layer.bias.detach();
  return out;
}

Mlp Mlp::frozen_copy() const {
  Mlp out = *this;
  for (auto& layer : out.layers_) {
    layer.weight = layer.weight.detach().clone();
    layer.bias = layer.bias.detach().clone();
  }
  return out;
}

}  // namespace rft
