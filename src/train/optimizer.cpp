#include "rft/train/optimizer.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

#include <algorithm>
#include <cmath>
#include <numbers>

#include "rft/core/error.h"

namespace rft {

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

Optimizer::Optimizer(std::vector<Parameter> parameters, const OptimizerOptions& options)
    : options_(options), parameters_(std::move(parameters)) {
  if (parameters_.empty()) run_failed("Optimizer", "there is nothing to train");
  auto alike = [](const Parameter& a, const Parameter& b) { return a.group == b.group && a.decay == b.decay; };
  // Within a group those that are decayed come first; groups in the order in which they were met.
  std::map<std::string, int> order;
  for (const auto& p : parameters_) order.emplace(p.group, static_cast<int>(order.size()));
  std::stable_sort(parameters_.begin(), parameters_.end(), [&](const Parameter& a, const Parameter& b) {
    return std::pair(order[a.group], !a.decay) < std::pair(order[b.group], !b.decay);
  });
  int64_t count = 0;
  for (size_t i = 0; i < parameters_.size(); ++i) {
    const Parameter& p = parameters_[i];
    if (i == 0 || !alike(p, parameters_[i - 1])) parts_.push_back({p.group, p.decay, count, 0});
    parts_.back().length += p.value.numel(), count += p.value.numel();
    steps_[p.group] = 0;
  }
  auto type = parameters_.front().value.options().requires_grad(false);
  flat_ = at::empty({count}, type);
  grad_ = at::zeros({count}, type);
  at::NoGradGuard no_grad;
  int64_t at = 0;
  for (auto& p : parameters_) {
    int64_t n = p.value.numel();
    auto view = flat_.narrow(0, at, n).view(p.value.sizes());
    view.copy_(p.value);
    p.value.set_data(view);
    p.value.requires_grad_(true);
    p.value.mutable_grad() = grad_.narrow(0, at, n).view(p.value.sizes());
    at += n;
  }
  bool low = flat_.scalar_type() == at::kBFloat16 || flat_.scalar_type() == at::kHalf;
  master_ = low ? flat_.to(at::kFloat) : flat_;
  mean_ = at::zeros_like(master_);
  square_ = at::zeros_like(master_);
}

void Optimizer::zero_grad() { grad_.zero_(); }

double Optimizer::grad_norm() const {
  // Blocks of fixed size, so that the sum does not depend on the number of threads.
  constexpr int64_t kBlock = 1 << 16;
  double sum = 0;
  for (int64_t at = 0; at < grad_.numel(); at += kBlock) {
    auto block = grad_.narrow(0, at, std::min(kBlock, grad_.numel() - at)).to(at::kFloat);
    sum += block.dot(block).item<double>();
  }
  return std::sqrt(sum);
}

void Optimizer::scale_grad(double factor) { grad_.mul_(factor); }

void Optimizer::step(double lr, const std::set<std::string>& only) {
  auto stepped = [&](const std::string& group) { return only.empty() || only.count(group) > 0; };
  for (auto& [group, steps] : steps_) steps += stepped(group);
  auto grad = grad_.scalar_type() == master_.scalar_type() ? grad_ : grad_.to(master_.scalar_type());
  double critics = options_.critic_lr ? *options_.critic_lr / *options_.lr : 1;
  at::NoGradGuard no_grad;
  for (const Part& part : parts_) {
    if (!stepped(part.group)) continue;
    auto of = [&](const Tensor& x) { return std::vector<Tensor>{x.narrow(0, part.begin, part.length)}; };
    std::vector<Tensor> p = of(master_), g = of(grad), m = of(mean_), v = of(square_),
                        steps{at::tensor(static_cast<float>(steps_[part.group]))};
    at::_fused_adamw_(p, g, m, v, {}, steps, part.group == groups::critic ? lr * critics : lr, options_.beta1,
                      options_.beta2, part.decay ? options_.weight_decay : 0.0, options_.eps, false, false);
  }
  if (!master_.is_same(flat_)) flat_.copy_(master_);
}

std::string Optimizer::fingerprint() const {
  Tensor weights = flat_.detach().to(at::kCPU);
  std::string_view bytes(static_cast<const char*>(weights.const_data_ptr()), weights.nbytes());
  return std::to_string(std::hash<std::string_view>()(bytes));
}

State Optimizer::state() const {
  State out{{"mean", mean_}, {"square", square_}};
  for (const auto& [group, steps] : steps_) out["steps." + group] = at::tensor(steps, at::kLong);
  if (!master_.is_same(flat_)) out["master"] = master_;
  return out;
}

void Optimizer::load_state(const State& state) {
  auto take = [&](const char* name, const Tensor& into) {
    auto found = state.find(name);
    if (found == state.end() || found->second.numel() != into.numel())
      bad_input("checkpoint", "the optimizer's '", name, "' does not fit this model's ", into.numel(),
                " trained weights");
    into.copy_(found->second.view(into.sizes()));
  };
  at::NoGradGuard no_grad;
  take("mean", mean_), take("square", square_);
  if (!master_.is_same(flat_)) take("master", master_);
  for (auto& [group, steps] : steps_) {
    auto found = at::zeros({1}, at::kLong);
    take(cat("steps.", group).c_str(), found);
    steps = found.item<int64_t>();
  }
}

void Optimizer::refresh_master() {
  if (!master_.is_same(flat_)) master_.copy_(flat_);
}

}  // namespace rft
