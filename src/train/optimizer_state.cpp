// The optimizer's state, whole or in the processes' pieces.
#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

#include <algorithm>

#include "rft/core/error.h"
#include "rft/train/optimizer.h"

namespace rft {
namespace {

constexpr char kRange[] = "range", kMean[] = "mean", kSquare[] = "square", kMaster[] = "master";

std::string steps_of(const std::string& group) { return "steps." + group; }

}  // namespace

bool Optimizer::has_master() const { return master_.scalar_type() != flat_.scalar_type(); }

State Optimizer::state() const {
  std::vector<Run> mine = runs();
  auto packed = [&](const Tensor& x) {
    std::vector<Tensor> out{at::empty({0}, x.options())};
    for (const Run& run : mine) out.push_back(x.narrow(0, run.begin, run.count));
    return at::cat(out);
  };
  int64_t first = mine.empty() ? count_ : mine.front().first;
  State out{{kMean, packed(mean_)}, {kSquare, packed(square_)}};
  if (has_master()) out[kMaster] = packed(master_);
  out[kRange] = at::tensor({first, first + out[kMean].numel()}, at::kLong);
  for (const auto& [group, steps] : steps_) out[steps_of(group)] = at::tensor(steps, at::kLong);
  return out;
}

/// Copies what this process updates; how many weights that were.
int64_t Optimizer::take(const State& piece) {
  auto find = [&](const std::string& name, int64_t elements) {
    auto found = piece.find(name);
    if (found == piece.end() || found->second.numel() != elements)
      bad_input("checkpoint", "the optimizer's '", name, "' does not fit this model's ", count_, " trained weights");
    return found->second.view({-1});
  };
  int64_t first = 0, end = count_;  // a state from before there were pieces
  if (piece.count(kRange)) first = find(kRange, 2)[0].item<int64_t>(), end = find(kRange, 2)[1].item<int64_t>();
  if (first < 0 || end < first || end > count_)
    bad_input("checkpoint", "the optimizer's state is of weights ", first, " to ", end, "; this model trains ", count_);
  int64_t taken = 0;
  for (const Run& run : runs()) {
    int64_t from = std::max(first, run.first), to = std::min(end, run.first + run.count);
    if (from < to) taken += to - from;
    auto copy = [&](const char* name, const Tensor& into) {
      Tensor all = find(name, end - first);
      if (from < to)
        into.narrow(0, run.begin + from - run.first, to - from).copy_(all.narrow(0, from - first, to - from));
    };
    copy(kMean, mean_), copy(kSquare, square_);
    if (has_master()) copy(kMaster, master_);
  }
  for (auto& [group, steps] : steps_) steps = find(steps_of(group), 1).item<int64_t>();
  return taken;
}

void Optimizer::load_state(const std::vector<State>& pieces) {
  at::NoGradGuard no_grad;
  int64_t needed = 0, taken = 0;
  for (const Run& run : runs()) needed += run.count;
  for (const State& piece : pieces) taken += take(piece);
  if (taken != needed)
    bad_input("checkpoint", "the optimizer's state holds ", taken, " of ", needed,
              " weights; are all files of its trainer directory there, and none twice?");
}

void Optimizer::refresh_master() {
  if (has_master()) master_.copy_(own(flat_));
}

}  // namespace rft
