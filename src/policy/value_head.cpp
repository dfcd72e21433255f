#include "policy/value_head.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

#include <cmath>

#include "rft/core/error.h"
#include "rft/core/noise.h"
#include "rft/io/files.h"
#include "rft/io/safetensors.h"

namespace rft {
namespace {

constexpr char kFile[] = "/value_head.safetensors", kWeight[] = "v_head.summary.weight",
               kBias[] = "v_head.summary.bias";

}  // namespace

ValueHead::ValueHead(int64_t hidden_size, const at::TensorOptions& options, uint64_t seed) {
  double std = 1 / std::sqrt(static_cast<double>(hidden_size) + 1);
  linear_.weight = standard_normal({seed}, {hidden_size}).mul(std).to(options).set_requires_grad(true);
  linear_.bias = at::zeros({1}, options).set_requires_grad(true);
}

Tensor ValueHead::values(const Tensor& hidden) const {
  auto type = hidden.scalar_type() == at::kDouble ? at::kDouble : at::kFloat;
  return apply(linear_, hidden).squeeze(1).to(type);
}

void ValueHead::add_parameters(std::vector<Parameter>& out, const std::string& prefix) const {
  out.push_back({prefix + "weight", linear_.weight, true, groups::critic});
  out.push_back({prefix + "bias", linear_.bias, false, groups::critic});
}

void ValueHead::save(const std::string& directory) const {
  save_safetensors(directory + kFile,
                   {{kWeight, linear_.weight.detach().to(at::kCPU)}, {kBias, linear_.bias.detach().to(at::kCPU)}});
}

void ValueHead::load(const std::string& directory) {
  if (!file_exists(directory + kFile)) return;
  auto tensors = load_safetensors(directory + kFile).tensors;
  at::NoGradGuard no_grad;
  for (auto [name, into] : {std::pair{kWeight, linear_.weight}, {kBias, linear_.bias}}) {
    auto found = tensors.find(name);
    if (found == tensors.end() || found->second.sizes() != into.sizes())
      bad_input(directory + kFile, "must hold '", name, "' of shape ", into.sizes());
    into.copy_(found->second);
  }
}

}  // namespace rft
