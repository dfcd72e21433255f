#include "train/gradient_buckets.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>
#include <torch/csrc/autograd/function_hook.h>
#include <torch/csrc/autograd/variable.h>

#include <algorithm>
#include <memory>
#include <string>

#include "rft/core/error.h"
#include "rft/core/text.h"

namespace rft {
namespace {

/// Weights of a bucket: enough to fill a network for milliseconds, and few beside a large model's.
constexpr int64_t kMostWeights = int64_t{1} << 24;
/// A model has about so many buckets at least.
constexpr int64_t kBuckets = 8;
/// Buckets under way while the next one is made.
constexpr size_t kFlights = 1;

constexpr char kBetween = '|';

std::vector<size_t> numbers_in(const std::string& text) {
  std::vector<size_t> out;
  for (const auto& one : split(text, ','))
    if (!one.empty()) out.push_back(static_cast<size_t>(std::stoull(one)));
  return out;
}

std::string joined_numbers(const std::vector<size_t>& numbers) {
  std::vector<std::string> out;
  for (size_t one : numbers) out.push_back(std::to_string(one));
  return join(out, ",");
}

}  // namespace

/// Called by autograd whenever it has added to a parameter's gradient.
class GradientBuckets::Ready : public torch::autograd::PostAccumulateGradHook {
 public:
  Ready(GradientBuckets& buckets, size_t parameter) : buckets_(buckets), parameter_(parameter) {}
  void operator()(const at::Tensor&) override { buckets_.ready(parameter_); }

 private:
  GradientBuckets& buckets_;
  size_t parameter_;
};

GradientBuckets::GradientBuckets(const FlatLayout& layout, std::vector<Parameter>& parameters, Communicator& processes,
                                 Keep keep, const Tensor& gradient, bool early,
                                 const std::vector<ParameterRange>& layers)
    : layout_(layout), parameters_(parameters), processes_(processes), keep_(keep), gradient_(gradient), early_(early) {
  make_buckets(layers);
  came_.resize(parameters_.size());
  for (size_t i = 0; i < parameters_.size(); ++i)
    torch::autograd::impl::set_post_acc_grad_hooks(parameters_[i].value, std::make_unique<Ready>(*this, i));
}

GradientBuckets::~GradientBuckets() {
  for (auto& p : parameters_) torch::autograd::impl::set_post_acc_grad_hooks(p.value, nullptr);
}

void GradientBuckets::make_buckets(const std::vector<ParameterRange>& layers) {
  int64_t most = std::min(kMostWeights, layout_.weights() / kBuckets);
  std::vector<size_t> layer_of(parameters_.size(), layers.size());  // layers.size(): of none
  for (size_t k = 0; k < layers.size(); ++k)
    std::fill(layer_of.begin() + static_cast<int64_t>(layers[k].first),
              layer_of.begin() + static_cast<int64_t>(layers[k].last), k);
  layers_.resize(layers.size());
  for (size_t i = 0; i < parameters_.size(); ++i) {
    int64_t begin = layout_.begin_of(i), end = begin + parameters_[i].value.numel();
    bool layer = layer_of[i]<layers.size(), follows = i> 0 && layer_of[i] == layer_of[i - 1];
    if (!follows || (!layer && end - buckets_.back().begin > most)) {
      if (layer) layers_[layer_of[i]] = buckets_.size();
      Bucket bucket;
      bucket.range.first = i, bucket.begin = begin, bucket.layer = layer;
      buckets_.push_back(bucket);
    }
    buckets_.back().range.last = i + 1, buckets_.back().end = end;
    bucket_of_.push_back(buckets_.size() - 1);
  }
  for (Bucket& bucket : buckets_) bucket.rows = layout_.rows_of(bucket.begin, bucket.end);
  // The last layers' gradients come first: at first by the order of the model, where what is first is ready last.
  std::vector<size_t> first(buckets_.size(), parameters_.size());
  for (size_t i = 0; i < parameters_.size(); ++i)
    first[bucket_of_[i]] = std::min(first[bucket_of_[i]], layout_.came_as(i));
  for (size_t b = 0; b < buckets_.size(); ++b)
    if (!buckets_[b].layer) order_.push_back(b);
  std::stable_sort(order_.begin(), order_.end(), [&](size_t a, size_t b) { return first[a] > first[b]; });
}

void GradientBuckets::begin() {
  open_ = true, next_ = 0;
  seen_.clear();
  std::fill(came_.begin(), came_.end(), false);
  for (Bucket& bucket : buckets_)
    bucket.sent = bucket.stale = false, bucket.waiting = bucket.range.last - bucket.range.first;
}

void GradientBuckets::ready(size_t parameter) {
  if (!open_) return;
  Bucket& bucket = buckets_[bucket_of_[parameter]];
  if (bucket.layer) return;
  bucket.stale |= bucket.sent;
  if (came_[parameter]) return;
  came_[parameter] = true;
  if (--bucket.waiting == 0) seen_.push_back(bucket_of_[parameter]);
  while (early_ && next_ < order_.size() && buckets_[order_[next_]].waiting == 0) send(order_[next_++]);
}

void GradientBuckets::send_layer(size_t layer) {
  if (open_) send(layers_[layer]);
}

void GradientBuckets::send(size_t b) {
  at::NoGradGuard no_grad;
  Bucket& bucket = buckets_[b];
  bucket.sent = true;
  int64_t row = layout_.owners() * layout_.granule();
  Tensor flat = at::zeros({bucket.rows.count * row}, gradient_.options());
  for (size_t i = bucket.range.first; i < bucket.range.last; ++i) {
    Tensor& mine = parameters_[i].value.mutable_grad();
    if (!mine.defined()) continue;
    flat.narrow(0, layout_.begin_of(i) - bucket.rows.first * row, mine.numel()).copy_(mine.reshape({-1}));
    if (keep_ == Keep::own_alone) mine = Tensor();
  }
  Tensor parts = layout_.by_rows(flat, {0, bucket.rows.count}).transpose(0, 1).contiguous();
  flights_.push_back({b, parts, processes_.begin_sum_parts(parts.view({-1}))});
  if (flights_.size() > kFlights) settle();
}

/// Waits for the oldest sum under way.
void GradientBuckets::settle() {
  at::NoGradGuard no_grad;
  Flight flight = std::move(flights_.front());
  flights_.pop_front();
  flight.finish();
  Tensor sum = flight.parts[layout_.rank()].reshape({-1});
  if (keep_ == Keep::own_alone) return add_own(buckets_[flight.bucket], sum);
  // What was accumulated stays as it is until it is clear that nothing more comes.
  buckets_[flight.bucket].sum = sum.clone();
}

void GradientBuckets::settle_all() {
  while (!flights_.empty()) settle();
}

void GradientBuckets::add_own(const Bucket& bucket, const Tensor& sum) {
  int64_t before = bucket.rows.first * layout_.granule();
  for (const auto& piece : layout_.owned(bucket.begin, bucket.end))
    gradient_.narrow(0, piece.own, piece.count).add_(sum.narrow(0, piece.own - before, piece.count));
}

void GradientBuckets::end() {
  while (next_ < order_.size()) send(order_[next_++]);
  settle_all();
  open_ = false;
  agree();
  if (keep_ == Keep::own_in_place) place_own();
  if (keep_ == Keep::all) share();
  for (Bucket& bucket : buckets_) bucket.sum = Tensor();
}

/// Sends again what any process sent too early (a layer that is computed again at every denoising step adds to its
/// gradients as often), and takes over the first process's order.
void GradientBuckets::agree() {
  std::vector<size_t> mine;
  for (size_t b = 0; b < buckets_.size(); ++b)
    if (buckets_[b].stale) mine.push_back(b);
  auto all = processes_.gather(joined_numbers(mine) + kBetween + (ordered_ ? "" : joined_numbers(seen_)));
  std::vector<size_t> stale;
  for (const std::string& said : all)
    for (size_t b : numbers_in(split(said, kBetween).at(0))) stale.push_back(b);
  if (!ordered_) {
    std::vector<size_t> order = numbers_in(split(all[0], kBetween).at(1));
    for (size_t b : order_)
      if (std::find(order.begin(), order.end(), b) == order.end()) order.push_back(b);
    order_ = order, ordered_ = true;
  }
  std::sort(stale.begin(), stale.end());
  stale.erase(std::unique(stale.begin(), stale.end()), stale.end());
  early_ &= stale.empty();
  for (size_t b : stale) send(b);
  settle_all();
}

void GradientBuckets::place_own() {
  for (const Bucket& bucket : buckets_) {
    int64_t before = bucket.rows.first * layout_.granule();
    for (const auto& piece : layout_.owned(bucket.begin, bucket.end))
      gradient_.narrow(0, piece.flat, piece.count).copy_(bucket.sum.narrow(0, piece.own - before, piece.count));
  }
}

/// Everyone's sums, everywhere.
void GradientBuckets::share() {
  int64_t row = layout_.owners() * layout_.granule();
  auto take = [&] {
    Flight flight = std::move(flights_.front());
    flights_.pop_front();
    flight.finish();
    const Bucket& bucket = buckets_[flight.bucket];
    int64_t count = bucket.end - bucket.begin;
    gradient_.narrow(0, bucket.begin, count)
        .copy_(flight.parts.transpose(0, 1).reshape({-1}).narrow(0, bucket.begin - bucket.rows.first * row, count));
  };
  for (size_t b = 0; b < buckets_.size(); ++b) {
    const Bucket& bucket = buckets_[b];
    Tensor parts = at::empty({layout_.owners(), bucket.rows.count, layout_.granule()}, gradient_.options());
    parts[layout_.rank()].view({-1}).copy_(bucket.sum);
    flights_.push_back({b, parts, processes_.begin_share_parts(parts.view({-1}))});
    if (flights_.size() > kFlights) take();
  }
  while (!flights_.empty()) take();
}

}  // namespace rft
