// The optimizer's state, whole or in the processes' pieces.
#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

#include <algorithm>
#include <utility>
#include <vector>

#include "rft/core/error.h"
#include "rft/train/optimizer.h"
#include "train/gradient_buckets.h"
#include "train/layer_weights.h"
#include "train/offload.h"
#include "train/whole_places.h"

namespace rft {
namespace {

constexpr char kRange[] = "range", kMean[] = "mean", kSquare[] = "square", kMaster[] = "master";

std::string steps_of(const std::string& group) { return "steps." + group; }

/// Weights first .. end of a state, which begin there at `at`.
struct Stretch {
  int64_t first, end, at;
};

std::vector<Stretch> stretches(const State& state, int64_t weights) {
  auto found = state.find(kRange);
  if (found == state.end()) return {{0, weights, 0}};  // from before there were pieces
  if (found->second.numel() % 2) bad_input("checkpoint", "the optimizer's 'range' must have a begin and an end each");
  Tensor ranges = found->second.to(at::kLong).reshape({-1, 2});
  std::vector<Stretch> out;
  int64_t at = 0, last = 0;
  for (int64_t k = 0; k < ranges.size(0); ++k) {
    int64_t first = ranges[k][0].item<int64_t>(), end = ranges[k][1].item<int64_t>();
    if (first < last || end < first || end > weights)
      bad_input("checkpoint", "the optimizer's state is of weights ", first, " to ", end, "; this model trains ",
                weights);
    out.push_back({first, end, at}), at += end - first, last = end;
  }
  return out;
}

}  // namespace

bool Optimizer::has_master() const { return !master_.is_same(flat_); }

/// Of weights that are no narrower a master copy on the host says nothing more than they do.
bool Optimizer::saves_master() const {
  return flat_.scalar_type() == at::kBFloat16 || flat_.scalar_type() == at::kHalf;
}

State Optimizer::state() const {
  std::vector<Piece> mine = places_->in_whole(places_->counted(pieces()));
  auto packed = [&](const Tensor& x, bool own) {
    std::vector<Tensor> out{at::empty({0}, x.options())};
    for (const Piece& piece : mine) out.push_back(x.narrow(0, own ? piece.own : piece.flat, piece.count));
    return at::cat(out);
  };
  State out{{kMean, packed(mean_, true)}, {kSquare, packed(square_, true)}};
  if (saves_master()) out[kMaster] = packed(master_, true);
  std::vector<int64_t> ranges;
  for (const Piece& piece : mine) {
    if (!ranges.empty() && ranges.back() == piece.first)
      ranges.pop_back();
    else
      ranges.push_back(piece.first);
    ranges.push_back(piece.first + piece.count);
  }
  out[kRange] = at::tensor(ranges, at::kLong).view({-1, 2});
  for (const auto& [group, steps] : steps_) out[steps_of(group)] = at::tensor(steps, at::kLong);
  return out;
}

/// Copies what this process updates; how many weights that were.
int64_t Optimizer::take(const State& state) {
  auto find = [&](const std::string& name, int64_t elements) {
    auto found = state.find(name);
    if (found == state.end() || (elements >= 0 && found->second.numel() != elements))
      bad_input("checkpoint", "the optimizer's '", name, "' does not fit this model's ", places_->weights(),
                " trained weights");
    return found->second.reshape({-1});
  };
  std::vector<Stretch> given = stretches(state, places_->weights());
  int64_t elements = given.empty() ? 0 : given.back().at + given.back().end - given.back().first, taken = 0;
  std::vector<std::pair<Tensor, Tensor>> columns{{find(kMean, elements), mean_}, {find(kSquare, elements), square_}};
  if (saves_master()) columns.emplace_back(find(kMaster, elements), master_);
  std::vector<Piece> mine = places_->in_whole(pieces());
  auto piece = mine.begin();
  for (const Stretch& from : given)  // both in the order of the weights
    for (; piece != mine.end() && piece->first < from.end; ++piece) {
      int64_t begin = std::max(from.first, piece->first), end = std::min(from.end, piece->first + piece->count);
      if (begin < end) {
        taken += end - begin;
        for (auto& [all, into] : columns)
          into.narrow(0, piece->own + begin - piece->first, end - begin)
              .copy_(all.narrow(0, from.at + begin - from.first, end - begin));
      }
      if (piece->first + piece->count > from.end) break;  // its rest is in what follows
    }
  for (auto& [group, steps] : steps_) steps = find(steps_of(group), 1).item<int64_t>();
  return taken;
}

void Optimizer::load_state(const std::vector<State>& states) {
  at::NoGradGuard no_grad;
  int64_t needed = 0, taken = 0;
  for (const Piece& piece : pieces()) needed += piece.count;
  for (const State& state : states) taken += take(state);
  if (taken != needed)
    bad_input("checkpoint", "the optimizer's state holds ", taken, " of ", needed,
              " weights; are all files of its trainer directory there, and none twice?");
}

void Optimizer::refresh_master() {
  at::NoGradGuard no_grad;
  if (!keeps_weights()) layers_->take();
  if (has_master()) master_.copy_((keeps_weights() ? own_rows(flat_) : flat_).reshape({-1}));
}

}  // namespace rft
