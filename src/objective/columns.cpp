#include "objective/columns.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <limits>

#include "rft/core/error.h"
#include "rft/core/extra.h"

namespace rft::objective {
namespace {

/// Log-probability that stands for one of 0, nats.
constexpr double kImpossible = -1e4;

/// Small enough that a plain loop beats the calls it saves, and of a layout that a loop can read.
bool loops(const Tensor& x) { return x.is_cpu() && x.numel() <= 4096 && x.is_contiguous(); }
bool loops_as(const Tensor& x, at::ScalarType type) { return loops(x) && x.scalar_type() == type; }

template <class T>
std::pair<double, double> weighted_sum(const Tensor& x, const Tensor& weight) {
  const T *at = x.const_data_ptr<T>(), *w = weight.const_data_ptr<T>();
  double sum = 0, count = 0;
  for (int64_t i = 0; i < weight.numel(); ++i) sum += static_cast<double>(at[i] * w[i]), count += w[i];
  return {sum, count};
}

}  // namespace

const Tensor& required(const Tensor& x, const char* name, const char* objective) {
  if (!x.defined()) run_failed(objective, "`", name, "` is needed, and the batch has none");
  return x;
}

Tensor zero_where_masked(const Tensor& x, const Tensor& mask) {
  if (x.sizes() == mask.sizes() && loops(mask)) {  // nothing to zero: single decisions of control
    const bool* at = mask.const_data_ptr<bool>();
    if (std::all_of(at, at + mask.numel(), [](bool kept) { return kept; })) return x;
  }
  return at::where(mask, x, at::zeros({}, x.options()));
}

Columns read_columns(const Evaluation& now, const Experience& batch, const Tensor& mask) {
  auto column = [&](const Tensor& x) {
    if (!x.defined()) return Tensor();
    Tensor wide = x.dim() == 1 ? x.unsqueeze(1) : x;
    return zero_where_masked(wide.to(now.logp.options()), mask);
  };
  Columns c;
  c.mask = mask;
  c.weight = mask.to(now.logp.scalar_type());
  c.logp = column(now.logp);
  c.old_logp = batch.old_logp.defined() ? column(batch.old_logp) : c.logp.detach();
  c.sampler_logp = batch.logp.defined() ? column(batch.logp) : c.old_logp;
  c.ref_logp = column(batch.ref_logp);
  if (c.ref_logp.defined())  // what the reference can't do at all is very unlikely, so that numbers stay finite
    c.ref_logp = c.ref_logp.nan_to_num(std::numeric_limits<double>::quiet_NaN(),
                                       std::numeric_limits<double>::infinity(), kImpossible);
  c.advantage = column(batch.advantage);
  c.entropy = column(now.entropy);
  c.divergence = column(now.extra.find(extra::divergence));
  return c;
}

Columns first_rows(const Columns& c, int64_t rows) {
  Columns out;
  for (Tensor Columns::*column :
       {&Columns::mask, &Columns::weight, &Columns::logp, &Columns::old_logp, &Columns::sampler_logp,
        &Columns::ref_logp, &Columns::advantage, &Columns::entropy, &Columns::divergence})
    if ((c.*column).defined()) out.*column = (c.*column).narrow(0, 0, rows);
  return out;
}

Tensor row_sum(const Tensor& x, const Tensor& weight) { return x.mul(weight).sum(1, /*keepdim=*/true); }
Tensor row_mean(const Tensor& x, const Tensor& weight) {
  return row_sum(x, weight).div(weight.sum(1, /*keepdim=*/true).clamp_min(1));
}

Tensor k3(const Tensor& logp, const Tensor& ref_logp) {
  Tensor x = ref_logp.sub(logp);
  return x.exp().sub(x).sub(1);
}

Tensor kl_estimate(const Tensor& logp, const Tensor& ref_logp, const std::string& estimator) {
  if (estimator == "k3") return k3(logp, ref_logp);
  Tensor x = logp.sub(ref_logp);
  return estimator == "k1" ? x : x.square().div(2);
}

Tensor entropy_quantile(const Tensor& entropy, const Tensor& mask, double quantile) {
  Tensor all = entropy.detach().masked_select(mask).to(at::kFloat);
  if (all.numel() == 0) return at::full({}, std::numeric_limits<float>::infinity(), all.options());
  return at::quantile(all, quantile);
}

void MetricSums::keep(const std::string& name, const Tensor& sum, const Tensor& count) {
  names_.push_back(name);
  values_.push_back(sum.detach().to(at::kDouble));
  values_.push_back(count.detach().to(at::kDouble));
}

void MetricSums::tokens(const std::string& name, const Tensor& x, const Tensor& weight) {
  if (x.sizes() == weight.sizes())
    for (auto type : {at::kFloat, at::kDouble})
      if (loops_as(x, type) && loops_as(weight, type)) {
        auto [sum, count] = type == at::kFloat ? weighted_sum<float>(x, weight) : weighted_sum<double>(x, weight);
        if (count > 0) known_.add(name, sum / count, count);
        return;
      }
  keep(name, x.detach().mul(weight).sum(at::kDouble), weight.sum(at::kDouble));
}

void MetricSums::rows(const std::string& name, const Tensor& x, const Tensor& weight) {
  keep(name, row_mean(x.detach(), weight).sum(at::kDouble), weight.sum(1).gt(0).sum());
}

void MetricSums::add_to(Metrics& metrics) const {
  metrics.merge(known_);
  if (names_.empty()) return;
  Tensor host = at::stack(values_).cpu();
  const double* value = host.const_data_ptr<double>();
  for (size_t i = 0; i < names_.size(); ++i) {
    double sum = value[2 * i], count = value[2 * i + 1];
    if (count > 0) metrics.add(names_[i], sum / count, count);
  }
}

}  // namespace rft::objective
