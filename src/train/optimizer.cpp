#include "rft/train/optimizer.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <numbers>

#include "rft/core/error.h"
#include "rft/ops/adamw.h"

namespace rft {
namespace {

/// Every part begins at a multiple of a vector register's elements, so that an element is computed by the same
/// instructions wherever the flat buffer is cut.
constexpr int64_t kLane = 16;

int64_t up_to(int64_t n, int64_t multiple) { return (n + multiple - 1) / multiple * multiple; }

/// What the buffer is cut and summed by: the same for any number of processes, and small beside a process's share.
int64_t block_of(int64_t n) {
  int64_t block = kLane;
  while (block < 16384 && block * 512 < n) block *= 2;
  return block;
}

}  // namespace

double learning_rate(const ScheduleOptions& schedule, double lr, int64_t step, int64_t total) {
  double warmup = schedule.warmup_steps > 0 ? static_cast<double>(schedule.warmup_steps)
                                            : std::ceil(schedule.warmup_ratio * static_cast<double>(total));
  double at = static_cast<double>(step), all = static_cast<double>(total);
  if (at < warmup) return lr * at / std::max(1.0, warmup);
  double done = (at - warmup) / std::max(1.0, all - warmup), share = 1.0;
  if (schedule.type == "linear") share = std::max(0.0, 1.0 - done);
  if (schedule.type == "cosine") share = std::max(0.0, 0.5 * (1.0 + std::cos(std::numbers::pi * done)));
  if (schedule.type == "inverse_sqrt") {
    double scale = warmup > 0 ? warmup : 10000.0, shift = scale - warmup;
    share = 1.0 / std::sqrt((at + shift) / scale);
  }
  return lr * std::max(share, schedule.min_ratio);
}

Optimizer::Optimizer(std::vector<Parameter> parameters, const OptimizerOptions& options, Communicator* processes,
                     bool sharded)
    : options_(options), parameters_(std::move(parameters)), processes_(processes), sharded_(sharded && processes) {
  if (parameters_.empty()) run_failed("Optimizer", "there is nothing to train");
  int64_t n = lay_out(), size = processes_ ? processes_->size() : 1;
  block_ = block_of(n);
  int64_t share = up_to(up_to(n, block_) / block_, size) / size * block_;
  own_begin_ = sharded_ ? share * processes_->rank() : 0, own_size_ = sharded_ ? share : share * size;
  auto type = parameters_.front().value.options().requires_grad(false);
  for (const Parameter& p : parameters_)
    if (p.value.device() != type.device())
      bad_input("policy.device", "the model is on ", type.device(), " and '", p.name, "' on ", p.value.device(),
                "; an objective or a critic with weights of its own needs `device: cpu`");
  flat_ = at::zeros({share * size}, type), grad_ = at::zeros({share * size}, type);
  move_in();
  bool low = flat_.scalar_type() == at::kBFloat16 || flat_.scalar_type() == at::kHalf;
  master_ = low ? own(flat_).to(at::kFloat) : own(flat_);
  mean_ = at::zeros_like(master_), square_ = at::zeros_like(master_);
}

/// Orders the parameters and finds their parts; the elements that takes, with the gaps between parts.
int64_t Optimizer::lay_out() {
  auto alike = [](const Parameter& a, const Parameter& b) { return a.group == b.group && a.decay == b.decay; };
  // Within a group those that are decayed come first; groups in the order in which they were met.
  std::map<std::string, int> order;
  for (const auto& p : parameters_) order.emplace(p.group, static_cast<int>(order.size()));
  std::stable_sort(parameters_.begin(), parameters_.end(), [&](const Parameter& a, const Parameter& b) {
    return std::pair(order[a.group], !a.decay) < std::pair(order[b.group], !b.decay);
  });
  int64_t end = 0;
  for (size_t i = 0; i < parameters_.size(); ++i) {
    const Parameter& p = parameters_[i];
    if (i == 0 || !alike(p, parameters_[i - 1])) {
      end = up_to(end, kLane);
      parts_.push_back({p.group, p.decay, end, count_, 0});
    }
    parts_.back().count += p.value.numel(), count_ += p.value.numel(), end += p.value.numel();
    steps_[p.group] = 0;
  }
  return end;
}

/// Moves the parameters' values and gradients into the flat buffers.
void Optimizer::move_in() {
  at::NoGradGuard no_grad;
  auto part = parts_.begin();
  int64_t first = 0;
  for (auto& p : parameters_) {
    while (part + 1 != parts_.end() && first >= (part + 1)->first) ++part;
    int64_t n = p.value.numel(), at = part->begin + first - part->first;
    auto view = flat_.narrow(0, at, n).view(p.value.sizes());
    view.copy_(p.value);
    p.value.set_data(view);
    p.value.requires_grad_(true);
    p.value.mutable_grad() = grad_.narrow(0, at, n).view(p.value.sizes());
    first += n;
  }
}

void Optimizer::zero_grad() { grad_.zero_(); }

void Optimizer::reduce_grad() {
  if (!processes_) return;
  processes_->sum_parts(grad_);
  if (!sharded_) processes_->share_parts(grad_);  // in two halves, so that the sums are those of a sharded optimizer
}

std::vector<double> Optimizer::block_sums() const {
  Tensor grad = own(grad_);
  if (!grad.is_cpu()) {
    Tensor norms = at::linalg_vector_norm(grad.view({-1, block_}), 2, at::IntArrayRef{1}, false, at::kFloat);
    Tensor squares = norms.to(at::kDouble).square().to(at::kCPU);
    return {squares.const_data_ptr<double>(), squares.const_data_ptr<double>() + squares.numel()};
  }
  std::vector<double> sums;
  for (int64_t at = 0; at < own_size_; at += block_) {
    auto block = grad.narrow(0, at, block_).to(at::kFloat);
    sums.push_back(block.dot(block).item<double>());
  }
  return sums;
}

double Optimizer::grad_norm() const {
  std::vector<double> sums = block_sums();
  double sum = 0;
  if (!sharded_) {
    for (double one : sums) sum += one;
    return std::sqrt(sum);
  }
  for (const std::string& bytes : processes_->gather({reinterpret_cast<const char*>(sums.data()), sums.size() * 8})) {
    std::memcpy(sums.data(), bytes.data(), bytes.size());
    for (double one : sums) sum += one;
  }
  return std::sqrt(sum);
}

void Optimizer::scale_grad(double factor) { own(grad_).mul_(factor); }

std::vector<Optimizer::Run> Optimizer::runs() const {
  std::vector<Run> out;
  for (const Part& part : parts_) {
    int64_t begin = std::max(part.begin, own_begin_), end = std::min(part.begin + part.count, own_begin_ + own_size_);
    if (begin < end) out.push_back({&part, begin - own_begin_, part.first + begin - part.begin, end - begin});
  }
  return out;
}

void Optimizer::step(double lr, const std::set<std::string>& only) {
  auto stepped = [&](const std::string& group) { return only.empty() || only.count(group) > 0; };
  for (auto& [group, steps] : steps_) steps += stepped(group);
  Tensor grad = own(grad_), low = has_master() ? own(flat_) : Tensor();
  double critics = options_.critic_lr ? *options_.critic_lr / *options_.lr : 1;
  at::NoGradGuard no_grad;
  for (const Run& run : runs()) {
    const std::string& group = run.part->group;
    if (!stepped(group)) continue;
    auto of = [&](const Tensor& x) { return x.defined() ? x.narrow(0, run.begin, run.count) : x; };
    ops::adamw(of(grad),
               {group == groups::critic ? lr * critics : lr, options_.beta1, options_.beta2,
                run.part->decay ? options_.weight_decay : 0.0, options_.eps, steps_[group]},
               of(master_), of(mean_), of(square_), of(low));
  }
  if (sharded_) processes_->share_parts(flat_);
}

std::string Optimizer::fingerprint() const {
  Tensor weights = flat_.detach().to(at::kCPU);
  std::string_view bytes(static_cast<const char*>(weights.const_data_ptr()), weights.nbytes());
  return std::to_string(std::hash<std::string_view>()(bytes));
}

}  // namespace rft
