#include "policy/weight_average.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

namespace rft {

void WeightAverage::add(const Weights& weights, double decay) {
  at::NoGradGuard no_grad;
  const auto& from = weights.tensors;
  if (tensors_.empty())
    for (const auto& [name, value] : from) tensors_.push_back(value.detach().clone());
  for (size_t i = 0; i < from.size(); ++i) tensors_[i].lerp_(from[i].second.detach(), 1 - decay);
}

void WeightAverage::put(const Weights& weights) const {
  at::NoGradGuard no_grad;
  for (size_t i = 0; i < tensors_.size(); ++i) Tensor(weights.tensors[i].second).copy_(tensors_[i]);
}

void WeightAverage::swap(const Weights& weights) {
  at::NoGradGuard no_grad;
  for (size_t i = 0; i < tensors_.size(); ++i) {
    Tensor held = tensors_[i].clone(), weight = weights.tensors[i].second;
    tensors_[i].copy_(weight), weight.copy_(held);
  }
}

void WeightAverage::save(const Weights& weights, const std::string& name, State& state) const {
  for (size_t i = 0; i < tensors_.size(); ++i) state[name + "." + weights.tensors[i].first] = tensors_[i];
}

void WeightAverage::load(const Weights& weights, const std::string& name, const State& state) {
  tensors_.clear();
  for (const auto& [tensor, value] : weights.tensors)
    if (auto found = state.find(name + "." + tensor); found != state.end())
      tensors_.push_back(found->second.to(value.options().requires_grad(false)));
}

}  // namespace rft
