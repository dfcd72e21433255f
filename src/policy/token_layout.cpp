#include "policy/token_layout.h"

#include <ATen/ATen.h>

namespace rft {

Tensor to_cells(const Tensor& values, const Tensor& cell, int64_t B, int64_t T) {
  return at::zeros({B * T}, values.options()).index_copy(0, cell, values).view({B, T});
}

TokenLayout TokenLayout::of(const Tensor& before, const Tensor& given_lengths, const Tensor& given_action,
                            const Tensor& given_mask) {
  int64_t B = given_action.size(0), T = given_action.size(1);
  auto prompts = before.contiguous(), lengths = given_lengths.contiguous(), action = given_action.contiguous(),
       mask = given_mask.contiguous();
  const int64_t *prompt = prompts.const_data_ptr<int64_t>(), *prompt_length = lengths.const_data_ptr<int64_t>(),
                *token = action.const_data_ptr<int64_t>();
  const bool* decided = mask.const_data_ptr<bool>();
  std::vector<int64_t> ids, hidden, target, cell;
  TokenLayout out;
  for (int64_t b = 0; b < B; ++b) {
    int64_t count = T;
    while (count > 0 && !decided[b * T + count - 1]) --count;
    if (count == 0) continue;
    int64_t start = static_cast<int64_t>(ids.size()), P = prompt_length[b];
    ids.insert(ids.end(), prompt + b * prompts.size(1), prompt + b * prompts.size(1) + P);
    ids.insert(ids.end(), token + b * T, token + b * T + count - 1);
    out.packed.lengths.push_back(P + count - 1), out.rows.push_back(b);
    for (int64_t t = 0; t < count; ++t) {
      if (!decided[b * T + t]) continue;
      hidden.push_back(start + P - 1 + t), target.push_back(token[b * T + t]), cell.push_back(b * T + t);
    }
  }
  out.packed.ids = at::tensor(ids, at::kLong);
  out.hidden_index = at::tensor(hidden, at::kLong);
  out.decision = at::full({out.packed.ids.numel()}, -1, at::kLong);
  for (size_t m = 0; m < hidden.size(); ++m) out.decision.data_ptr<int64_t>()[hidden[m]] = static_cast<int64_t>(m);
  out.target = at::tensor(target, at::kLong);
  out.cell = at::tensor(cell, at::kLong);
  return out;
}

TokenLayout TokenLayout::to(const at::Device& device) const {
  TokenLayout out = *this;
  if (device.is_cpu()) return out;
  for (Tensor* x : {&out.packed.ids, &out.hidden_index, &out.decision, &out.target, &out.cell})
    *x = x->pin_memory().to(device, /*non_blocking=*/true);
  return out;
}

}  // namespace rft
