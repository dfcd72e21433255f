#include "rft/nn/expert_mixture.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

#include <cmath>

#include "rft/core/error.h"
#include "rft/core/rng.h"

namespace rft {
namespace {

/// [out, in] and [out], uniform within 1 / sqrt(in) (torch.nn.Linear's start).
Linear uniform_linear(int64_t out, int64_t in, at::ScalarType type, const Rng& draw) {
  const double most = 1 / std::sqrt(static_cast<double>(in));
  Tensor numbers = at::empty({out, in + 1}, at::kDouble);
  auto* at = numbers.data_ptr<double>();
  for (int64_t i = 0; i < numbers.numel(); ++i) at[i] = most * (2 * draw.uniform(static_cast<uint64_t>(i)) - 1);
  Linear linear;
  linear.weight = numbers.narrow(1, 0, in).to(type).contiguous().requires_grad_();
  linear.bias = numbers.select(1, in).to(type).contiguous().requires_grad_();
  return linear;
}

}  // namespace

ExpertMixture::ExpertMixture(const Decoder& base, const std::vector<Expert>& experts, uint64_t seed) {
  if (base.config().labels != 1)
    bad_input("experts", "stand on a reward model of whole answers (a score head of one label); got ",
              base.config().labels, " labels");
  if (experts.empty()) bad_input("experts", "at least one set of adapters is needed");
  for (const Expert& expert : experts) {
    Decoder& decoder = experts_.emplace_back(base);  // the weights are shared
    add_lora(decoder, expert.config, 0);
    load_peft_tensors(decoder, expert.tensors, expert.where);
  }
  const int64_t D = base.config().hidden_size, K = static_cast<int64_t>(experts.size());
  const auto type = base.weights().head.scalar_type() == at::kDouble ? at::kDouble : at::kFloat;
  hidden_ = uniform_linear(D, K * D, type, Rng(seed, 0));
  score_ = uniform_linear(1, D, type, Rng(seed, 1));
  slope_ = at::full({1}, 0.25, type).requires_grad_();
}

Tensor ExpertMixture::scores(const Packed& rows, const Tensor& index) const {
  std::vector<Tensor> states;
  {
    at::NoGradGuard no_grad;
    for (const Decoder& expert : experts_)
      states.push_back(expert.forward(rows, {}).index_select(0, index).to(slope_.scalar_type()));
  }
  return apply(score_, at::prelu(apply(hidden_, at::cat(states, 1)), slope_)).select(1, 0);
}

std::vector<std::pair<std::string, Tensor>> ExpertMixture::named() const {
  return {{"hidden.weight", hidden_.weight},
          {"hidden.bias", hidden_.bias},
          {"slope", slope_},
          {"score.weight", score_.weight},
          {"score.bias", score_.bias}};
}

void ExpertMixture::load(const std::map<std::string, Tensor>& tensors, const std::string& where) {
  at::NoGradGuard no_grad;
  for (auto& [name, value] : named()) {
    auto found = tensors.find(name);
    if (found == tensors.end()) bad_input(where, "the tensor '", name, "' is missing");
    if (found->second.sizes() != value.sizes())
      bad_input(where, "'", name, "' must be ", value.sizes(), "; got ", found->second.sizes());
    value.copy_(found->second);
  }
}

}  // namespace rft
