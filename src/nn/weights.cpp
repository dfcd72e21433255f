#include "rft/nn/weights.h"

#include <ATen/ATen.h>

#include <cmath>
#include <numbers>
#include <set>

#include "rft/core/error.h"
#include "rft/core/rng.h"
#include "rft/core/text.h"

namespace rft {
namespace {

/// A name's own random stream: a tensor starts the same whatever else the model has.
uint64_t stream_of(const std::string& name) {
  uint64_t hash = 1469598103934665603ull;
  for (unsigned char c : name) hash = (hash ^ c) * 1099511628211ull;
  return hash;
}

Tensor random_tensor(const std::vector<int64_t>& shape, Init init, int64_t fan_in, const Rng& rng) {
  if (init == Init::zeros) return at::zeros(shape, at::kFloat);
  if (init == Init::ones) return at::ones(shape, at::kFloat);
  Tensor out = at::empty(shape, at::kFloat);
  float* at = out.data_ptr<float>();
  double bound = 1 / std::sqrt(static_cast<double>(std::max<int64_t>(fan_in, 1)));
  for (int64_t i = 0; i < out.numel(); ++i) {
    double u = rng.uniform(2 * i);
    at[i] = static_cast<float>(init == Init::uniform ? bound * (2 * u - 1)
                                                     : std::sqrt(-2 * std::log1p(-u)) *
                                                           std::cos(2 * std::numbers::pi * rng.uniform(2 * i + 1)));
  }
  return out;
}

}  // namespace

struct WeightSource::Impl {
  std::map<std::string, Tensor> tensors;
  at::TensorOptions options;
  std::string where;
  bool random = false;
  uint64_t seed = 0;
  Weights taken;
  std::set<std::string> used;
  std::vector<std::string> problems;

  /// "FULL" and all "FULL...." of the directory.
  std::vector<std::string> names_of(const std::string& full) const {
    std::vector<std::string> out;
    if (tensors.count(full)) out.push_back(full);
    for (auto at = tensors.lower_bound(full + "."); at != tensors.end() && at->first.starts_with(full + "."); ++at)
      out.push_back(at->first);
    return out;
  }
};

WeightSource::WeightSource(std::map<std::string, Tensor> tensors, const at::TensorOptions& options, std::string where)
    : impl_(std::make_shared<Impl>()) {
  impl_->tensors = std::move(tensors), impl_->options = options, impl_->where = std::move(where);
}

WeightSource WeightSource::random(const at::TensorOptions& options, uint64_t seed) {
  WeightSource out({}, options, "random weights");
  out.impl_->random = true, out.impl_->seed = seed;
  return out;
}

WeightSource WeightSource::in(const std::string& name) const {
  WeightSource out = *this;
  out.prefix_ += name + ".";
  return out;
}

bool WeightSource::has(const std::string& name) const { return !impl_->names_of(prefix_ + name).empty(); }

bool WeightSource::differ(const std::string& name, const std::string& other) const {
  const auto one = impl_->tensors.find(prefix_ + name), two = impl_->tensors.find(prefix_ + other);
  return one != impl_->tensors.end() && two != impl_->tensors.end() && !one->second.equal(two->second);
}

Tensor WeightSource::tensor(const std::string& name, std::vector<int64_t> shape, Init init, int64_t fan_in) const {
  std::string full = prefix_ + name;
  Tensor value;
  if (impl_->random) {
    if (!fan_in) {
      fan_in = 1;
      for (size_t i = 1; i < shape.size(); ++i) fan_in *= shape[i];
    }
    value = random_tensor(shape, init, fan_in, Rng(impl_->seed, stream_of(full)));
  } else if (auto found = impl_->tensors.find(full); found == impl_->tensors.end()) {
    impl_->problems.push_back("'" + full + "' is missing");
  } else if (found->second.sizes() != at::IntArrayRef(shape)) {
    impl_->problems.push_back(cat("'", full, "' must be ", at::IntArrayRef(shape), ", is ", found->second.sizes()));
  } else if (!found->second.is_floating_point()) {
    impl_->problems.push_back("'" + full + "' must hold floating-point numbers");
  } else {
    value = found->second;
  }
  impl_->used.insert(full);
  if (!value.defined()) value = at::zeros(shape, at::kFloat);
  value = value.to(impl_->options, /*non_blocking=*/false, /*copy=*/true).contiguous();
  impl_->taken.tensors.emplace_back(full, value);
  return value;
}

std::shared_ptr<Linear> WeightSource::linear(const std::string& name, int64_t in, int64_t out, bool bias) const {
  auto made = std::make_shared<Linear>();
  made->weight = tensor(name + ".weight", {out, in});
  if (bias) made->bias = tensor(name + ".bias", {out}, Init::uniform, in);
  impl_->taken.linears.push_back({prefix_ + name, made});
  return made;
}

Conv2d WeightSource::conv(const std::string& name, int64_t in, int64_t out, int64_t kernel, int64_t stride,
                          int64_t padding, bool bias) const {
  Conv2d made;
  made.weight = tensor(name + ".weight", {out, in, kernel, kernel});
  if (bias) made.bias = tensor(name + ".bias", {out}, Init::uniform, in * kernel * kernel);
  made.stride = stride, made.padding = padding;
  return made;
}

Norm WeightSource::norm(const std::string& name, int64_t channels, bool bias) const {
  Norm made;
  made.weight = tensor(name + ".weight", {channels}, Init::ones);
  if (bias) made.bias = tensor(name + ".bias", {channels}, Init::zeros);
  return made;
}

Tensor WeightSource::embedding(const std::string& name, int64_t count, int64_t width) const {
  return tensor(name + ".weight", {count, width}, Init::normal);
}

Tensor WeightSource::buffer(const std::string& name, const Tensor& start) const {
  Tensor value = tensor(name, start.sizes().vec(), Init::zeros);
  if (impl_->random) value.copy_(start);
  impl_->taken.buffers.insert(prefix_ + name);
  return value;
}

void WeightSource::ignore(const std::string& name) const {
  for (const auto& full : impl_->names_of(prefix_ + name)) impl_->used.insert(full);
}

void WeightSource::rename(const std::string& old_name, const std::string& name) const {
  std::string old_full = prefix_ + old_name;
  for (const auto& full : impl_->names_of(old_full)) {
    std::string today = prefix_ + name + full.substr(old_full.size());
    if (impl_->tensors.count(today)) continue;  // the old one is then reported as unused
    auto entry = impl_->tensors.extract(full);
    entry.key() = today;
    impl_->tensors.insert(std::move(entry));
  }
}

Weights WeightSource::finish() const {
  std::vector<std::string> problems = impl_->problems;
  for (const auto& [name, value] : impl_->tensors)
    if (!impl_->used.count(name)) problems.push_back("'" + name + "' belongs to no layer");
  if (!problems.empty()) bad_input(impl_->where, "the tensors do not fit config.json: ", join(problems, "; "));
  return impl_->taken;
}

}  // namespace rft
