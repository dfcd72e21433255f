#include "rft/dist/weight_part.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <numeric>

#include "rft/dist/exchange.h"

namespace rft {
namespace {

/// A section's place along `dim`: in the part of a process and in the whole.
struct SectionPlace {
  int64_t mine = 0, whole = 0, count = 0;
};

std::vector<SectionPlace> sections_of(const WeightPart& part, int64_t rank, int64_t size) {
  std::vector<SectionPlace> out;
  int64_t mine = 0, whole = 0;
  for (int64_t n : part.sections) {
    Share share = share_of(n, rank, size);
    out.push_back({mine, whole + share.first, share.count});
    mine += share.count, whole += n;
  }
  return out;
}

int64_t length_of(const WeightPart& part, int64_t rank, int64_t size) {
  SectionPlace last = sections_of(part, rank, size).back();
  return last.mine + last.count;
}

}  // namespace

Tensor part_of(const Tensor& whole, const WeightPart& part, int64_t rank, int64_t size) {
  std::vector<Tensor> pieces;
  for (const SectionPlace& at : sections_of(part, rank, size))
    pieces.push_back(whole.narrow(part.dim, at.whole, at.count));
  return at::cat(pieces, part.dim).contiguous();
}

Tensor whole_of(const Tensor& mine, const WeightPart& part, Communicator& group, bool keep) {
  int64_t size = group.size();
  int64_t row = mine.numel() / std::max<int64_t>(mine.size(part.dim), 1), longest = 0;
  for (int64_t r = 0; r < size; ++r) longest = std::max(longest, length_of(part, r, size));
  Tensor all = at::zeros({size, longest * row}, mine.options().device(at::kCPU).requires_grad(false));
  all[group.rank()].narrow(0, 0, mine.numel()).copy_(mine.detach().reshape({-1}));
  group.share_parts(all.view({-1}));
  if (!keep) return {};
  std::vector<int64_t> shape = mine.sizes().vec();
  shape[static_cast<size_t>(part.dim)] = std::accumulate(part.sections.begin(), part.sections.end(), int64_t{0});
  Tensor whole = at::empty(shape, all.options());
  for (int64_t r = 0; r < size; ++r) {
    shape[static_cast<size_t>(part.dim)] = length_of(part, r, size);
    Tensor theirs = all[r].narrow(0, 0, length_of(part, r, size) * row).view(shape);
    for (const SectionPlace& at : sections_of(part, r, size))
      whole.narrow(part.dim, at.whole, at.count).copy_(theirs.narrow(part.dim, at.mine, at.count));
  }
  return whole;
}

std::vector<WeightStretch> stretches_of(const std::vector<int64_t>& mine, const WeightPart& part, int64_t rank,
                                        int64_t size) {
  int64_t outer = 1, inner = 1;
  for (size_t d = 0; d < mine.size(); ++d) {
    if (static_cast<int64_t>(d) < part.dim) outer *= mine[d];
    if (static_cast<int64_t>(d) > part.dim) inner *= mine[d];
  }
  int64_t length = mine[static_cast<size_t>(part.dim)];
  int64_t whole = std::accumulate(part.sections.begin(), part.sections.end(), int64_t{0});
  std::vector<WeightStretch> out;
  for (int64_t o = 0; o < outer; ++o)
    for (const SectionPlace& at : sections_of(part, rank, size))
      if (at.count) out.push_back({(o * length + at.mine) * inner, (o * whole + at.whole) * inner, at.count * inner});
  return out;
}

}  // namespace rft
