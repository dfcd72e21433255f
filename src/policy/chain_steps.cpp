#include "policy/chain_steps.h"

#include <ATen/ATen.h>

#include <numbers>

#include "rft/core/rng.h"

namespace rft {

Tensor time_features(const Tensor& t) {
  Tensor turns = at::tensor({1.0f, 2.0f, 4.0f, 8.0f}).mul(std::numbers::pi);
  Tensor angle = t.to(at::kFloat).unsqueeze(1).mul(turns);
  return at::cat({angle.sin(), angle.cos()}, 1);
}

Tensor uniform(const std::vector<uint64_t>& keys, uint64_t stream) {
  Tensor out = at::empty({static_cast<int64_t>(keys.size())}, at::kFloat);
  for (size_t i = 0; i < keys.size(); ++i)
    out.data_ptr<float>()[i] = static_cast<float>(Rng(keys[i], stream).uniform(0));
  return out;
}

}  // namespace rft
