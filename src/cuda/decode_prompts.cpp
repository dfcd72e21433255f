#include "cuda/decode_prompts.h"

#include <ATen/ATen.h>

#include <algorithm>

#include "cuda/decode_slots.h"

namespace rft::cuda {
namespace {

/// Prompt tokens of one forward pass.
constexpr int64_t kPassTokens = 2048;

/// Tokens of one pass.
struct Pass {
  std::vector<int> ids, positions, row;
  std::vector<int64_t> outputs;
  std::vector<DecodeGroup*> finished;  ///< whose logits are the outputs
  int64_t longest = 0;
};

void run(DecodeForward& forward, const Tensor& pages, const Tensor& table, const Pass& pass) {
  if (pass.ids.empty()) return;
  const at::Device device = pages.device();
  auto ints = [&](const std::vector<int>& v) { return uploaded(at::tensor(v, at::kInt), device); };
  TokenBatch batch{ints(pass.ids), ints(pass.positions),
                   ints(pass.row), table,
                   false,          kernels::attention_splits(static_cast<int>(pass.longest))};
  // Without outputs too, the last token's are computed: a forward pass gives some.
  std::vector<int64_t> outputs = pass.outputs;
  if (outputs.empty()) outputs.push_back(0);
  const Tensor logits = forward.logits(batch, pages, uploaded(at::tensor(outputs, at::kLong), device));
  for (size_t i = 0; i < pass.finished.size(); ++i)
    pass.finished[i]->logits = logits.narrow(0, static_cast<int64_t>(i), 1);
}

}  // namespace

void compute_prompts(DecodeForward& forward, const Tensor& pages, int64_t width,
                     const std::vector<DecodeGroup*>& groups) {
  if (groups.empty()) return;
  Tensor host = at::zeros({static_cast<int64_t>(groups.size()), width}, at::kInt);
  for (size_t g = 0; g < groups.size(); ++g) {
    const std::vector<int>& own = groups[g]->pages.pages();
    std::copy(own.begin(), own.end(), host[static_cast<int64_t>(g)].data_ptr<int>());
  }
  const Tensor table = uploaded(host, pages.device());
  Pass pass;
  for (size_t g = 0; g < groups.size(); ++g) {
    const std::vector<int64_t>& prompt = groups[g]->request->prompt;
    for (size_t t = 0; t < prompt.size(); ++t) {
      pass.ids.push_back(static_cast<int>(prompt[t])), pass.positions.push_back(static_cast<int>(t));
      pass.row.push_back(static_cast<int>(g));
      pass.longest = std::max(pass.longest, static_cast<int64_t>(t) + 1);
      if (t + 1 == prompt.size())
        pass.outputs.push_back(static_cast<int64_t>(pass.ids.size()) - 1), pass.finished.push_back(groups[g]);
      if (static_cast<int64_t>(pass.ids.size()) == kPassTokens) run(forward, pages, table, pass), pass = {};
    }
  }
  run(forward, pages, table, pass);
}

void copy_open_pages(const Tensor& pages, const std::vector<DecodeRow*>& rows) {
  std::vector<int64_t> from, to;
  for (const DecodeRow* row : rows) {
    if (row->group->open_page() < 0) continue;
    from.push_back(row->group->open_page()), to.push_back(row->own.pages().front());
  }
  if (from.empty()) return;
  auto index = [&](const std::vector<int64_t>& v) { return uploaded(at::tensor(v, at::kLong), pages.device()); };
  Tensor(pages).index_copy_(0, index(to), pages.index_select(0, index(from)));
}

}  // namespace rft::cuda
