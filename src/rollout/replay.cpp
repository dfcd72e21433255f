#include "rft/rollout/replay.h"

#include <ATen/ATen.h>

#include <algorithm>

#include "rft/core/error.h"
#include "rft/core/rng.h"

namespace rft {
namespace {

const char* const kContext = "context.";
const char* const kExtra = "extra.";

/// A batch's tensors by name; group numbers mean nothing after their rollout.
State columns_of(const Experience& batch) {
  State out;
  for (const auto& [name, member] : experience_columns())
    if ((batch.*member).defined() && member != &Experience::group) out[name] = batch.*member;
  for (const auto& [name, value] : batch.context.tensors()) out[kContext + name] = value;
  for (const auto& [name, value] : batch.extra.tensors()) out[kExtra + name] = value;
  return out;
}

Experience of_columns(const State& columns) {
  Experience out;
  for (const auto& [name, value] : columns) {
    if (name.starts_with(kContext)) out.context.set(name.substr(8), value);
    if (name.starts_with(kExtra)) out.extra.set(name.substr(6), value);
  }
  for (const auto& [name, member] : experience_columns())
    if (auto found = columns.find(name); found != columns.end()) out.*member = found->second;
  return out;
}

}  // namespace

void ReplayOptions::visit(OptionVisitor& v) {
  v.option("capacity", capacity, "decisions that are kept; the oldest make room", at_least(1).in("decisions"));
  v.option("warmup", warmup, "decisions made at random, uniformly, before anything is learned",
           at_least(0).in("decisions"));
  v.option("updates", updates, "optimizer steps a decision", above(0));
  v.option("given_share", given_share, "share of each batch that comes from the rows of `data`, where there are any",
           between(0, 1));
}

void Replay::add(const Experience& decisions) {
  int64_t rows = decisions.rows();
  if (rows == 0) return;
  State from = columns_of(decisions);
  if (columns_.empty())
    for (const auto& [name, value] : from) {
      auto shape = value.sizes().vec();
      shape[0] = capacity_;
      columns_[name] = at::empty(shape, value.options());
    }
  if (from.size() != columns_.size())
    run_failed("replay", "rows must have the same ", columns_.size(), " columns; got ", from.size());
  int64_t skipped = std::max<int64_t>(rows - capacity_, 0);  // more than fit: the last ones stay
  for (int64_t at = skipped; at < rows;) {
    int64_t count = std::min(rows - at, capacity_ - next_);
    for (auto& [name, into] : columns_) {
      auto found = from.find(name);
      if (found == from.end()) run_failed("replay", "rows must have the column '", name, "'");
      into.narrow(0, next_, count).copy_(found->second.narrow(0, at, count));
    }
    at += count, next_ = (next_ + count) % capacity_, size_ = std::min(size_ + count, capacity_);
  }
}

Experience Replay::draw(int64_t rows, uint64_t seed) const {
  if (size_ == 0) run_failed("replay", "nothing has been collected yet");
  Rng rng(seed);
  Tensor index = at::empty({rows}, at::kLong);
  for (int64_t i = 0; i < rows; ++i)
    index.data_ptr<int64_t>()[i] =
        static_cast<int64_t>(rng.below(static_cast<uint64_t>(i), static_cast<uint64_t>(size_)));
  State drawn;
  for (const auto& [name, value] : columns_) drawn[name] = value.index_select(0, index);
  Experience out = of_columns(drawn);
  out.group = at::arange(rows, at::kLong);
  return out;
}

State Replay::state() const {
  State out{{"place", at::tensor({size_, next_}, at::kLong)}};
  for (const auto& [name, value] : columns_) out["rows." + name] = value.narrow(0, 0, size_);
  return out;
}

void Replay::load_state(const State& state) {
  auto place = state.find("place");
  if (place == state.end() || place->second.numel() != 2) bad_input("checkpoint", "the replay's rows are missing");
  size_ = place->second[0].item<int64_t>(), next_ = place->second[1].item<int64_t>();
  if (size_ < 0 || size_ > capacity_ || next_ < 0 || next_ >= capacity_)
    bad_input("rollout.replay.capacity", "the checkpoint's replay holds ", size_, " decisions; got ", capacity_);
  columns_.clear();
  for (const auto& [name, value] : state) {
    if (!name.starts_with("rows.")) continue;
    if (value.dim() == 0 || value.size(0) != size_) bad_input("checkpoint", "the replay's '", name, "' does not fit");
    auto shape = value.sizes().vec();
    shape[0] = capacity_;
    Tensor& into = columns_[name.substr(5)] = at::empty(shape, value.options());
    into.narrow(0, 0, size_).copy_(value);
  }
}

}  // namespace rft
