#include "train/layer_weights.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

#include <algorithm>
#include <utility>

#include "core/give_back_memory.h"
#include "rft/core/error.h"

namespace rft {
namespace {

/// Layers' storages that are kept: the one that comes while another is there.
constexpr size_t kSpare = 2;

/// What is sent, of a type that is: codes go as the bytes of numbers.
Tensor as_numbers(const Tensor& parts) {
  Tensor flat = parts.view({-1});
  return flat.is_floating_point() ? flat : flat.view(at::kFloat);
}

}  // namespace

std::vector<ParameterRange> ranges_of(const std::vector<std::string>& layers,
                                      const std::vector<Parameter>& parameters) {
  std::vector<ParameterRange> out;
  for (const std::string& prefix : layers) {
    auto belongs = [&](const Parameter& p) { return p.decay && p.name.starts_with(prefix); };
    auto first = std::find_if(parameters.begin(), parameters.end(), belongs);
    auto last = std::find_if_not(first, parameters.end(), belongs);
    if (first == last || std::any_of(last, parameters.end(), belongs))
      run_failed("Optimizer", "the weights of layer '", prefix, "' do not follow each other");
    out.push_back({static_cast<size_t>(first - parameters.begin()), static_cast<size_t>(last - parameters.begin())});
  }
  return out;
}

LayerWeights::LayerWeights(const FlatLayout& layout, std::vector<Parameter>& parameters, Communicator& processes,
                           const std::vector<ParameterRange>& layers, const Tensor& own)
    : layout_(layout), parameters_(parameters), processes_(processes), own_(own) {
  std::vector<bool> taken(parameters_.size());
  for (const ParameterRange& layer : layers) {
    layers_.push_back(unit_of(layer.first, layer.last));
    for (size_t i = layer.first; i < layer.last; ++i) taken[i] = true;
    largest_ = std::max(largest_, layers_.back().whole.numel());
  }
  for (size_t i = 0, end; i < taken.size(); i = end) {
    for (end = i; end < taken.size() && !taken[end];) ++end;
    if (end > i) others_.push_back(unit_of(i, end));
    while (end < taken.size() && taken[end]) ++end;
  }
  take();
}

/// Moves the parameters' values into a storage of their own.
LayerWeights::Unit LayerWeights::unit_of(size_t first, size_t last) {
  at::NoGradGuard no_grad;
  Unit unit;
  unit.begin = layout_.begin_of(first), unit.end = layout_.begin_of(last - 1) + parameters_[last - 1].value.numel();
  unit.rows = layout_.rows_of(unit.begin, unit.end);
  int64_t row = layout_.owners() * layout_.granule();
  unit.whole = at::zeros({unit.rows.count * row}, own_.options());
  for (size_t i = first; i < last; ++i) {
    Tensor& value = parameters_[i].value;
    auto view = unit.whole.narrow(0, layout_.begin_of(i) - unit.rows.first * row, value.numel()).view(value.sizes());
    view.copy_(value);
    value.set_data(view);
  }
  return unit;
}

void LayerWeights::take() {
  at::NoGradGuard no_grad;
  int64_t row = layout_.owners() * layout_.granule();
  for (auto* units : {&layers_, &others_})
    for (const Unit& unit : *units)
      for (const auto& piece : layout_.owned(unit.begin, unit.end))
        own_.narrow(0, piece.own, piece.count)
            .copy_(unit.whole.narrow(0, piece.flat - unit.rows.first * row, piece.count));
}

void LayerWeights::make_room(Unit& unit) {
  int64_t count = unit.whole.numel();
  if (spare_room_.empty() || count > largest_)
    unit.room = at::empty({std::max(largest_, count)}, own_.options());
  else
    unit.room = spare_room_.back(), spare_room_.pop_back();
  unit.parts = unit.room.narrow(0, 0, count).view({layout_.owners(), unit.rows.count, layout_.granule()});
}

void LayerWeights::begin(Unit& unit) {
  if (unit.there || unit.finish) return;
  at::NoGradGuard no_grad;
  make_room(unit);
  unit.parts[layout_.rank()].view({-1}).copy_(
      own_.narrow(0, unit.rows.first * layout_.granule(), unit.rows.count * layout_.granule()));
  unit.finish = processes_.begin_share_parts(as_numbers(unit.parts));
}

void LayerWeights::finish(Unit& unit) {
  if (unit.there) return;
  begin(unit);
  unit.finish();
  unit.finish = nullptr;
  at::NoGradGuard no_grad;
  if (unit.whole.storage().nbytes() == 0) {
    // What the graph has kept of this storage, views too, sees the weights again.
    if (spare_.empty()) {
      Tensor fresh = at::empty({largest_}, own_.options());
      spare_.push_back(fresh.storage().set_data_ptr(at::DataPtr(nullptr, fresh.device())));
    }
    auto* storage = unit.whole.storage().unsafeGetStorageImpl();
    storage->set_nbytes(unit.whole.nbytes());
    storage->set_data_ptr_noswap(std::move(spare_.back()));
    spare_.pop_back(), unit.spare = true;
  }
  layout_.by_rows(unit.whole, {0, unit.rows.count}).copy_(unit.parts.transpose(0, 1));
  if (unit.room.numel() == largest_ && spare_room_.size() < kSpare) spare_room_.push_back(unit.room);
  unit.room = unit.parts = Tensor(), unit.there = true;
}

void LayerWeights::drop(Unit& unit) {
  auto* storage = unit.whole.storage().unsafeGetStorageImpl();
  at::DataPtr freed = storage->set_data_ptr(at::DataPtr(nullptr, unit.whole.device()));
  if (freed && unit.spare && spare_.size() < kSpare) spare_.push_back(std::move(freed));
  storage->set_nbytes(0);
  unit.there = false;
}

void LayerWeights::gather_all(std::vector<Unit>& units) {
  for (size_t i = 0; i < units.size(); ++i) {
    begin(units[i]);
    if (i + 1 < units.size()) begin(units[i + 1]);
    finish(units[i]);
  }
}

void LayerWeights::gather() {
  gather_all(others_), gather_all(layers_);
  gathered_ = true;
}

void LayerWeights::release() {
  gather_all(others_);
  for (Unit& unit : layers_) drop(unit);
  if (gathered_) give_back_memory();
  gathered_ = false, forward_ = backward_ = 0;
}

void LayerWeights::changed() {
  for (Unit& unit : layers_) drop(unit);
  for (Unit& unit : others_) unit.there = false;
  gathered_ = false;
}

void LayerWeights::enter(int64_t layer, Pass pass) {
  if (gathered_) return;
  finish(layers_[static_cast<size_t>(layer)]);
  int64_t next = pass == Pass::forward ? layer + 1 : layer - 1;
  if (next >= 0 && next < count()) begin(layers_[static_cast<size_t>(next)]);
}

void LayerWeights::leave(int64_t layer, Pass pass) {
  if (gathered_) return;
  drop(layers_[static_cast<size_t>(layer)]);
  if (pass == Pass::forward) {
    ++forward_;
    return;
  }
  ++backward_;
  if (gradients_) gradients_->send_layer(static_cast<size_t>(layer));
}

void LayerWeights::end_forward(int64_t passes) {
  while (!gathered_ && forward_ < count() * passes) {
    int64_t layer = forward_ % count();
    enter(layer, Pass::forward), leave(layer, Pass::forward);
  }
  forward_ = 0;
}

void LayerWeights::end_backward() {
  while (!gathered_ && backward_ < count()) {
    int64_t layer = count() - 1 - backward_;
    enter(layer, Pass::backward), leave(layer, Pass::backward);
  }
  backward_ = 0;
}

}  // namespace rft
