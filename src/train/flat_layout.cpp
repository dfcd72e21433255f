#include "rft/train/flat_layout.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <map>
#include <utility>

namespace rft {
namespace {

/// Every part begins at a multiple of a vector register's elements, so that an element is computed by the same
/// instructions wherever the flat buffer is cut.
constexpr int64_t kLane = 16;
/// A large buffer has so many rows at least, and a row is no larger than that: small beside a layer or a bucket of
/// gradients, which are sent in whole rows, and large enough for an operation each.
constexpr int64_t kRows = 512, kRowWeights = int64_t{1} << 18;

int64_t up_to(int64_t n, int64_t multiple) { return (n + multiple - 1) / multiple * multiple; }

/// What gradients are summed by: the same for any number of processes, and small beside a process's share.
int64_t block_of(int64_t n) {
  int64_t block = kLane;
  while (block < 16384 && block * 512 < n) block *= 2;
  return block;
}

}  // namespace

FlatLayout::FlatLayout(std::vector<Parameter>& parameters, int64_t owners, int64_t rank)
    : owners_(owners), rank_(rank) {
  int64_t n = lay_out(parameters);
  block_ = block_of(n);
  int64_t blocks = up_to(n, block_) / block_;
  int64_t most = std::min(blocks / kRows, kRowWeights / block_);  // blocks of a row
  granule_ = block_ * std::max<int64_t>(most / owners_, 1);
  rows_ = up_to(n, owners_ * granule_) / (owners_ * granule_);
}

/// Orders the parameters and finds their parts; the elements that takes, with the gaps between parts.
int64_t FlatLayout::lay_out(std::vector<Parameter>& parameters) {
  auto alike = [](const Parameter& a, const Parameter& b) { return a.group == b.group && a.decay == b.decay; };
  std::map<std::string, int> order;
  for (const auto& p : parameters) order.emplace(p.group, static_cast<int>(order.size()));
  for (size_t i = 0; i < parameters.size(); ++i) came_as_.push_back(i);
  std::stable_sort(came_as_.begin(), came_as_.end(), [&](size_t i, size_t j) {
    const Parameter &a = parameters[i], &b = parameters[j];
    return std::pair(order[a.group], !a.decay) < std::pair(order[b.group], !b.decay);
  });
  std::vector<Parameter> sorted;
  for (size_t i : came_as_) sorted.push_back(parameters[i]);
  parameters = std::move(sorted);
  int64_t end = 0;
  for (size_t i = 0; i < parameters.size(); ++i) {
    const Parameter& p = parameters[i];
    if (i == 0 || !alike(p, parameters[i - 1])) {
      end = up_to(end, kLane);
      parts_.push_back({p.group, p.decay, end, weights_, 0});
    }
    begins_.push_back(end);
    parts_.back().count += p.value.numel(), weights_ += p.value.numel(), end += p.value.numel();
  }
  return end;
}

std::vector<FlatLayout::Piece> FlatLayout::owned(int64_t begin, int64_t end) const {
  std::vector<Piece> out;
  int64_t row = granule_ * owners_;
  for (const Part& part : parts_) {
    int64_t from = std::max(begin, part.begin), to = std::min(end, part.begin + part.count);
    for (int64_t r = from / row; from < to && r * row < to; ++r) {
      int64_t mine = r * row + rank_ * granule_, a = std::max(from, mine), b = std::min(to, mine + granule_);
      if (a >= b) continue;
      Piece piece{&part, a, r * granule_ + a - mine, part.first + a - part.begin, b - a};
      bool joins = !out.empty() && out.back().part == piece.part && out.back().flat + out.back().count == piece.flat;
      if (joins)
        out.back().count += piece.count;
      else
        out.push_back(piece);
    }
  }
  return out;
}

std::vector<FlatLayout::Piece> FlatLayout::all() const {
  std::vector<Piece> out;
  for (const Part& part : parts_) out.push_back({&part, part.begin, part.begin, part.first, part.count});
  return out;
}

FlatLayout::Rows FlatLayout::rows_of(int64_t begin, int64_t end) const {
  int64_t row = granule_ * owners_, first = begin / row;
  return {first, up_to(end, row) / row - first};
}

Tensor FlatLayout::by_rows(const Tensor& flat, const Rows& rows) const {
  int64_t row = granule_ * owners_;
  return flat.narrow(0, rows.first * row, rows.count * row).view({rows.count, owners_, granule_});
}

}  // namespace rft
