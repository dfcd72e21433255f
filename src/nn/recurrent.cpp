#include "rft/nn/recurrent.h"

#include <ATen/ATen.h>

#include <cmath>

#include "rft/core/error.h"
#include "rft/core/rng.h"

namespace rft {
namespace {

Tensor uniform(at::IntArrayRef shape, double bound, uint64_t seed) {
  Tensor out = at::empty(shape, at::kFloat);
  Rng rng(seed);
  for (int64_t i = 0; i < out.numel(); ++i)
    out.data_ptr<float>()[i] = static_cast<float>((2 * rng.uniform(static_cast<uint64_t>(i)) - 1) * bound);
  return out.requires_grad_(true);
}

}  // namespace

Recurrent::Recurrent(std::string type, int64_t in, int64_t size, uint64_t seed) : type_(std::move(type)), size_(size) {
  int64_t rows = (type_ == "lstm" ? 4 : 3) * size;
  double bound = 1 / std::sqrt(static_cast<double>(size));
  input_weight_ = uniform({rows, in}, bound, mix(seed, 0)), state_weight_ = uniform({rows, size}, bound, mix(seed, 1));
  input_bias_ = uniform({rows}, bound, mix(seed, 2)), state_bias_ = uniform({rows}, bound, mix(seed, 3));
}

Tensor Recurrent::step(const Tensor& x, const Tensor& state) const {
  Tensor h = output(state);
  if (type_ == "gru") return at::gru_cell(x, h, input_weight_, state_weight_, input_bias_, state_bias_);
  auto [next, cell] =
      at::lstm_cell(x, {h, state.narrow(-1, size_, size_)}, input_weight_, state_weight_, input_bias_, state_bias_);
  return at::cat({next, cell}, -1);
}

Tensor Recurrent::run(const Tensor& x, const Tensor& state, const Tensor& keep) const {
  if (x.dim() != 3 || state.size(0) != x.size(0) || state.size(1) != state_size())
    run_failed("Recurrent", "x must be [B, T, in] and the state [B, ", state_size(), "]; got ", x.sizes(), " and ",
               state.sizes());
  std::vector<Tensor> out;
  Tensor now = state;
  for (int64_t t = 0; t < x.size(1); ++t) {
    now = step(x.select(1, t), now.mul(keep.narrow(1, t, 1)));
    out.push_back(output(now));
  }
  return at::stack(out, 1);
}

std::vector<std::pair<std::string, Tensor>> Recurrent::tensors(const std::string& name) const {
  if (empty()) return {};
  return {{name + ".weight_ih", input_weight_},
          {name + ".weight_hh", state_weight_},
          {name + ".bias_ih", input_bias_},
          {name + ".bias_hh", state_bias_}};
}

Recurrent Recurrent::frozen_copy() const {
  Recurrent out = *this;
  for (Tensor* x : {&out.input_weight_, &out.state_weight_, &out.input_bias_, &out.state_bias_})
    if (x->defined()) *x = x->detach().clone();
  return out;
}

}  // namespace rft
