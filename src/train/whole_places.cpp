#include "train/whole_places.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <numeric>

namespace rft {
namespace {

/// The elements first .. first + count of a piece, `first` being in its own numbers.
FlatLayout::Piece cut(const FlatLayout::Piece& piece, int64_t first, int64_t count) {
  int64_t after = first - piece.first;
  return {piece.part, piece.flat + after, piece.own + after, first, count};
}

}  // namespace

WholePlaces::WholePlaces(const std::vector<Parameter>& parameters, const DividedWeights& divided)
    : group_(divided.group) {
  int64_t first = 0;
  for (const Parameter& p : parameters) {
    Owner owner{first, p.value.numel(), weights_, {}, p.value.sizes().vec()};
    int64_t whole = owner.count;
    if (auto found = divided.parts.find(p.name); group_ && found != divided.parts.end()) {
      owner.part = found->second;
      int64_t length = std::accumulate(owner.part.sections.begin(), owner.part.sections.end(), int64_t{0});
      int64_t mine = owner.shape[static_cast<size_t>(owner.part.dim)];
      whole = mine ? owner.count / mine * length : 0;
    }
    owners_.push_back(owner);
    first += owner.count, weights_ += whole;
  }
}

/// each(piece, owner): what of the pieces is whose, in order.
template <class Each>
void WholePlaces::for_each_parameter(const std::vector<Piece>& pieces, const Each& each) const {
  for (const Piece& piece : pieces) {
    int64_t end = piece.first + piece.count;
    auto owner = std::upper_bound(owners_.begin(), owners_.end(), piece.first,
                                  [](int64_t at, const Owner& one) { return at < one.first + one.count; });
    for (; owner != owners_.end() && owner->first < end; ++owner) {
      int64_t from = std::max(piece.first, owner->first), to = std::min(end, owner->first + owner->count);
      if (from < to) each(cut(piece, from, to - from), *owner);
    }
  }
}

std::vector<WholePlaces::Piece> WholePlaces::counted(const std::vector<Piece>& pieces) const {
  if (!group_ || group_->rank() == 0) return pieces;
  std::vector<Piece> out;
  for_each_parameter(pieces, [&](const Piece& piece, const Owner& owner) {
    if (!owner.part.sections.empty()) out.push_back(piece);
  });
  return out;
}

std::vector<WholePlaces::Piece> WholePlaces::in_whole(const std::vector<Piece>& pieces) const {
  if (!group_) return pieces;
  std::vector<Piece> out;
  for_each_parameter(pieces, [&](const Piece& piece, const Owner& owner) {
    std::vector<WeightStretch> stretches{{0, 0, owner.count}};
    if (!owner.part.sections.empty()) stretches = stretches_of(owner.shape, owner.part, group_->rank(), group_->size());
    for (const WeightStretch& stretch : stretches) {
      int64_t begin = owner.first + stretch.mine;
      int64_t from = std::max(piece.first, begin), to = std::min(piece.first + piece.count, begin + stretch.count);
      if (from >= to) continue;
      Piece placed = cut(piece, from, to - from);
      placed.first = owner.whole + stretch.whole + from - begin;
      out.push_back(placed);
    }
  });
  return out;
}

}  // namespace rft
