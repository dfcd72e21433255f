#include "rft/train/optimizer.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <functional>

#include "core/give_back_memory.h"
#include "rft/core/error.h"
#include "rft/ops/adamw.h"
#include "train/gradient_buckets.h"
#include "train/layer_weights.h"
#include "train/offload.h"
#include "train/whole_places.h"

namespace rft {
namespace {

/// Rows of the flat buffer that are shared at a time.
constexpr int64_t kSharedWeights = int64_t{1} << 24;

}  // namespace

/// Frozen layers, and this process's part of them.
struct Optimizer::Frozen {
  Frozen(std::vector<Parameter> of, const Communicator& processes)
      : weights(std::move(of)),
        layout(weights, processes.size(), processes.rank()),
        own(at::zeros({layout.own_size()}, weights.front().value.options().requires_grad(false))) {}

  std::vector<Parameter> weights;
  FlatLayout layout;
  Tensor own;
};

Sharding sharding_of(const std::string& name) {
  return name == "optimizer"    ? Sharding::optimizer
         : name == "gradients"  ? Sharding::gradients
         : name == "parameters" ? Sharding::parameters
                                : Sharding::none;
}

Optimizer::Optimizer(std::vector<Parameter> parameters, const OptimizerOptions& options, const Placement& placement)
    : options_(options),
      parameters_(std::move(parameters)),
      processes_(placement.processes),
      sharding_(processes_ ? placement.sharding : Sharding::none),
      layout_(parameters_, processes_ ? processes_->size() : 1, processes_ ? processes_->rank() : 0) {
  if (parameters_.empty()) run_failed("Optimizer", "there is nothing to train");
  places_ = std::make_unique<WholePlaces>(parameters_, placement.divided);
  for (const Parameter& p : parameters_) steps_[p.group] = 0;
  auto type = parameters_.front().value.options().requires_grad(false);
  for (const Parameter& p : parameters_)
    if (p.value.device() != type.device())
      bad_input("policy.device", "the model is on ", type.device(), " and '", p.name, "' on ", p.value.device(),
                "; an objective or a critic with weights of its own needs `device: cpu`");
  for (const Parameter& p : parameters_) p.value.requires_grad_(true);
  if (sharding_ == Sharding::parameters && !placement.layers.frozen.empty()) {
    frozen_ = std::make_unique<Frozen>(placement.layers.frozen, *processes_);
    sharding_ = Sharding::gradients;
  }
  flat_ = at::zeros({keeps_weights() ? layout_.size() : layout_.own_size()}, type);
  grad_ = at::zeros({reduces_every_pass() ? layout_.own_size() : layout_.size()}, type);
  if (keeps_weights()) move_in();
  if (processes_) make_buckets(placement.layers.prefixes);
  give_back_memory();
  make_state(placement.host);
}

void Optimizer::make_state(const std::shared_ptr<HostCopies>& host) {
  if (host)
    on_host_ =
        std::make_unique<OffloadedSteps>(host, flat_.scalar_type(), std::min(OffloadedSteps::kChunk, layout_.size()));
  auto options = flat_.options();
  if (saves_master()) options = options.dtype(at::kFloat);
  if (host) options = options.device(at::kCPU);
  int64_t count = sharded() ? layout_.own_size() : layout_.size();
  master_ = host || saves_master() ? at::zeros({count}, options) : flat_;
  mean_ = at::zeros({count}, options), square_ = at::zeros({count}, options);
  refresh_master();
}

/// Who gathers weights, where that is needed, and who adds up gradients.
void Optimizer::make_buckets(const std::vector<std::string>& layers) {
  using Keep = GradientBuckets::Keep;
  Keep keep = reduces_every_pass() ? Keep::own_alone : sharded() ? Keep::own_in_place : Keep::all;
  std::vector<ParameterRange> ranges;
  if (frozen_) {
    layers_ = std::make_unique<LayerWeights>(frozen_->layout, frozen_->weights, *processes_,
                                             ranges_of(layers, frozen_->weights), frozen_->own);
  } else if (!keeps_weights()) {
    ranges = ranges_of(layers, parameters_);
    layers_ = std::make_unique<LayerWeights>(layout_, parameters_, *processes_, ranges, flat_);
  }
  buckets_ = std::make_unique<GradientBuckets>(layout_, parameters_, *processes_, keep, grad_, !layers_, ranges);
  if (!keeps_weights()) layers_->set_gradients(buckets_.get());
}

LayerGate* Optimizer::gate() const { return layers_.get(); }

void Optimizer::gather_weights() {
  if (layers_) layers_->gather();
}

void Optimizer::gather_trained() {
  if (!keeps_weights()) layers_->gather();
}

void Optimizer::release_weights() {
  if (layers_) layers_->release();
}

void Optimizer::forward_done(int64_t passes) {
  if (layers_) layers_->end_forward(passes);
}

Optimizer::~Optimizer() = default;

/// Moves the parameters' values and gradients into the flat buffers.
void Optimizer::move_in() {
  at::NoGradGuard no_grad;
  for (size_t i = 0; i < parameters_.size(); ++i) {
    Tensor& value = parameters_[i].value;
    int64_t n = value.numel(), at = layout_.begin_of(i);
    auto view = flat_.narrow(0, at, n).view(value.sizes());
    view.copy_(value);
    value.set_data(view);
    value.mutable_grad() = reduces_every_pass() ? Tensor() : grad_.narrow(0, at, n).view(value.sizes());
  }
}

std::vector<Optimizer::Piece> Optimizer::pieces() const {
  return sharded() ? layout_.owned(0, layout_.size()) : layout_.all();
}

Tensor Optimizer::own_rows(const Tensor& flat) const {
  auto rows = layout_.by_rows(flat, {0, layout_.rows()});
  return sharded() ? rows.select(1, layout_.rank()) : rows.view({-1, layout_.granule()});
}

Tensor Optimizer::own_grad() const {
  return reduces_every_pass() ? grad_.view({-1, layout_.granule()}) : own_rows(grad_);
}

void Optimizer::zero_grad() {
  grad_.zero_();
  if (reduces_every_pass())
    for (auto& p : parameters_) p.value.mutable_grad() = Tensor();
}

void Optimizer::begin_reduction() {
  if (buckets_) buckets_->begin();
}

void Optimizer::end_reduction() {
  if (layers_) layers_->end_backward();
  if (buckets_) buckets_->end();
}

/// In the order of what this process owns.
std::vector<double> Optimizer::block_sums() const {
  Tensor blocks = own_grad().unflatten(1, {-1, layout_.block()});  // [rows, blocks, block]
  if (!blocks.is_cpu()) {
    Tensor norms = at::linalg_vector_norm(blocks, 2, at::IntArrayRef{2}, false, at::kFloat);
    Tensor squares = norms.to(at::kDouble).square().to(at::kCPU).contiguous();
    return {squares.const_data_ptr<double>(), squares.const_data_ptr<double>() + squares.numel()};
  }
  std::vector<double> sums;
  for (int64_t row = 0; row < blocks.size(0); ++row)
    for (int64_t at = 0; at < blocks.size(1); ++at) {
      auto block = blocks.select(0, row).select(0, at).to(at::kFloat);
      sums.push_back(block.dot(block).item<double>());
    }
  return sums;
}

int64_t Optimizer::parameter_count() const { return places_->weights(); }

double Optimizer::grad_norm() const {
  if (places_->group()) return divided_norm();
  std::vector<double> sums = block_sums();
  double sum = 0;
  if (!sharded()) {
    for (double one : sums) sum += one;
    return std::sqrt(sum);
  }
  auto all = processes_->gather({reinterpret_cast<const char*>(sums.data()), sums.size() * sizeof(double)});
  size_t run = static_cast<size_t>(layout_.granule() / layout_.block());  // blocks of one owner that follow each other
  for (size_t at = 0; at < sums.size(); at += run)
    for (const std::string& theirs : all)
      for (size_t i = 0; i < run; ++i) {
        double one;
        std::memcpy(&one, theirs.data() + (at + i) * sizeof one, sizeof one);
        sum += one;
      }
  return std::sqrt(sum);
}

/// The same of divided weights: what this process answers for, then everyone's.
double Optimizer::divided_norm() const {
  double sum = 0;
  for (const Piece& piece : places_->counted(pieces())) {
    int64_t begin = reduces_every_pass() ? piece.own : piece.flat;
    for (int64_t at = 0; at < piece.count; at += layout_.block()) {
      Tensor block = grad_.narrow(0, begin + at, std::min(layout_.block(), piece.count - at)).to(at::kFloat);
      sum += block.dot(block).item<double>();
    }
  }
  Tensor all = at::full({1}, sum, at::kDouble);
  if (sharded()) processes_->sum(all);
  places_->group()->sum(all);
  return std::sqrt(all.item<double>());
}

Tensor Optimizer::gradient() const {
  if (sharded() || places_->group())
    bad_input("train",
              "objectives that learn from data.meta need whole gradients: without `shard` and "
              "`tensor_parallel`");
  return grad_;
}

void Optimizer::scale_grad(double factor) { own_grad().mul_(factor); }

void Optimizer::step(double lr, const std::set<std::string>& only) {
  auto stepped = [&](const std::string& group) { return only.empty() || only.count(group) > 0; };
  for (auto& [group, steps] : steps_) steps += stepped(group);
  double critics = options_.critic_lr ? *options_.critic_lr / *options_.lr : 1;
  at::NoGradGuard no_grad;
  for (const Piece& piece : pieces()) {
    const std::string& group = piece.part->group;
    if (!stepped(group)) continue;
    auto in_flat = [&](const Tensor& x) { return x.narrow(0, piece.flat, piece.count); };
    auto in_own = [&](const Tensor& x) { return x.narrow(0, sharded() ? piece.own : piece.flat, piece.count); };
    auto weights = [&](const Tensor& x) { return keeps_weights() ? in_flat(x) : in_own(x); };
    Tensor gradient = reduces_every_pass() ? in_own(grad_) : in_flat(grad_), mean = in_own(mean_),
           square = in_own(square_);
    ops::AdamWStep how{group == groups::critic ? lr * critics : lr,     options_.beta1, options_.beta2,
                       piece.part->decay ? options_.weight_decay : 0.0, options_.eps,   steps_[group]};
    if (on_host_)
      on_host_->add({gradient, weights(flat_), in_own(master_), mean, square}, how);
    else
      ops::adamw(gradient, how, has_master() ? in_own(master_) : weights(master_), mean, square,
                 has_master() ? weights(flat_) : Tensor());
  }
  if (on_host_) on_host_->finish();
  if (!keeps_weights()) return layers_->changed();
  if (sharded()) share_weights();
}

/// Everyone's new weights, everywhere; some rows at a time, the next ones while these are put in their places.
void Optimizer::share_weights() {
  int64_t row = layout_.owners() * layout_.granule(), most = std::max<int64_t>(kSharedWeights / row, 1);
  std::function<void()> last = [] {};
  for (int64_t at = 0; at < layout_.rows(); at += most) {
    Tensor rows = layout_.by_rows(flat_, {at, std::min(most, layout_.rows() - at)});
    Tensor parts = at::empty({rows.size(1), rows.size(0), rows.size(2)}, rows.options());
    parts[layout_.rank()].copy_(rows.select(1, layout_.rank()));
    auto finish = processes_->begin_share_parts(parts.view({-1}));
    last();
    last = [rows, parts, finish] {
      finish();
      at::NoGradGuard no_grad;
      rows.copy_(parts.transpose(0, 1));
    };
  }
  last();
}

Optimizer::Fingerprints Optimizer::fingerprints() const {
  if (!keeps_weights()) return {};
  auto hash = [](const Tensor& weights) {
    std::string_view bytes(static_cast<const char*>(weights.const_data_ptr()), weights.nbytes());
    return std::to_string(std::hash<std::string_view>()(bytes));
  };
  Tensor weights = flat_.detach().to(at::kCPU);
  if (!places_->group()) return {hash(weights), ""};
  std::vector<Tensor> shared{at::empty({0}, weights.options())};
  for (size_t i = 0; i < parameters_.size(); ++i)
    if (!places_->divided(i)) shared.push_back(weights.narrow(0, layout_.begin_of(i), parameters_[i].value.numel()));
  return {hash(at::cat(shared)), hash(weights)};
}

}  // namespace rft
