#include "policy/q_critics.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

#include "rft/core/error.h"
#include "rft/core/rng.h"

namespace rft {

QCritics::QCritics(int64_t count, const std::vector<int64_t>& widths, const std::string& activation, uint64_t seed) {
  for (int64_t k = 0; k < count; ++k) {
    trained_.emplace_back(widths, activation, 1, mix(seed, static_cast<uint64_t>(k)));
    slow_.push_back(trained_.back().frozen_copy());
  }
}

Tensor QCritics::operator()(const Tensor& observation, const Tensor& action, Weights weights) const {
  Tensor both = at::cat({observation, action}, 1);
  std::vector<Tensor> out;
  for (const Mlp& network : weights == Weights::slow ? slow_ : trained_)
    out.push_back(weights == Weights::fixed ? network.fixed()(both) : network(both));
  return at::cat(out, 1);
}

void follow(const Mlp& slow, const Mlp& trained, double tau) {
  at::NoGradGuard no_grad;
  auto from = trained.tensors(""), into = slow.tensors("");
  for (size_t i = 0; i < into.size(); ++i) into[i].second.mul_(1 - tau).add_(from[i].second, tau);
}

void QCritics::follow(double tau) {
  for (size_t k = 0; k < trained_.size(); ++k) rft::follow(slow_[k], trained_[k], tau);
}

namespace {

std::vector<std::pair<std::string, Tensor>> named(const std::vector<Mlp>& networks, const std::string& name) {
  std::vector<std::pair<std::string, Tensor>> out;
  for (size_t k = 0; k < networks.size(); ++k) {
    auto some = networks[k].tensors(cat(name, ".", k));
    out.insert(out.end(), some.begin(), some.end());
  }
  return out;
}

}  // namespace

std::vector<std::pair<std::string, Tensor>> QCritics::tensors() const { return named(trained_, "q"); }
std::vector<std::pair<std::string, Tensor>> QCritics::slow_tensors() const { return named(slow_, "slow_q"); }

}  // namespace rft
