#include "rft/ops/policy_loss.h"

#include <ATen/ATen.h>
#include <ATen/Dispatch.h>
#include <ATen/Parallel.h>
#include <torch/csrc/autograd/custom_function.h>

#include <algorithm>
#include <cmath>

#include "rft/core/error.h"
#include "rft/core/noise.h"

namespace rft::ops {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::Variable;
using torch::autograd::variable_list;

constexpr int64_t kGrain = 16384;

/// What a decision's loss is, and its derivative.
struct Slope {
  double loss, slope;
};

Slope surrogate_of(double ratio, double advantage, double low, double high, double most) {
  double bounded = std::min(ratio, most) * advantage, clipped = std::clamp(ratio, low, high) * advantage;
  bool free = ratio <= most, within = low <= ratio && ratio <= high;
  if (bounded == clipped) {  // torch's minimum gives each half
    double share = 0.5 * (free ? 1 : 0) + 0.5 * (within ? 1 : 0);
    return {-bounded, -advantage * share};
  }
  if (bounded < clipped) return {-bounded, free ? -advantage : 0};
  return {-clipped, within ? -advantage : 0};
}

Slope value_loss_of(double value, double returns, double old_value, double clip) {
  double plain = value - returns, kept = std::clamp(value - old_value, -clip, clip);
  double far = old_value + kept - returns;
  bool within = std::abs(value - old_value) <= clip;
  double a = plain * plain, b = far * far;
  double slope = a > b ? plain : b > a ? (within ? far : 0) : 0.5 * plain + 0.5 * (within ? far : 0);
  return {std::max(a, b) / 2, slope};
}

/// loss[i] and, in place of a second pass, its slope: each(i) gives both.
template <class T, class Each>
void fill(const Tensor& loss, const Tensor& slope, const Each& each) {
  T *to = loss.data_ptr<T>(), *slopes = slope.data_ptr<T>();
  at::parallel_for(0, loss.numel(), kGrain, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      Slope at = each(i);
      to[i] = static_cast<T>(at.loss), slopes[i] = static_cast<T>(at.slope);
    }
  });
}

/// y = f(x) of every element, whose slopes are known when y is.
struct Elementwise : torch::autograd::Function<Elementwise> {
  static Variable forward(AutogradContext* context, const Variable&, const Tensor& y, const Tensor& slope) {
    context->save_for_backward({slope});
    return y;
  }
  static variable_list backward(AutogradContext* context, variable_list gradients) {
    return {context->get_saved_variables()[0].mul(gradients[0]), Tensor(), Tensor()};
  }
};

template <class Each>
Tensor elementwise(const Tensor& x, const Each& each) {
  Tensor y = at::empty(x.sizes(), x.options().requires_grad(false)), slope = at::empty_like(y);
  AT_DISPATCH_FLOATING_TYPES(x.scalar_type(), "elementwise", [&] { fill<scalar_t>(y, slope, each(scalar_t())); });
  return x.requires_grad() ? Elementwise::apply(x, y, slope) : y;
}

void check(const char* name, const Tensor& x, const Tensor& other) {
  if (x.sizes() != other.sizes() || x.scalar_type() != other.scalar_type() || !x.is_cpu())
    run_failed(name, "all columns must be of one shape and dtype; got ", x.sizes(), " and ", other.sizes());
}

struct NormalLogp : torch::autograd::Function<NormalLogp> {
  template <class T>
  static void forward_rows(const Tensor& mean, const Tensor& log_std, const Tensor& action, Tensor& z, Tensor& out) {
    const int64_t rows = mean.size(0), K = mean.size(1);
    const T *m = mean.const_data_ptr<T>(), *s = log_std.const_data_ptr<T>(), *a = action.const_data_ptr<T>();
    T *to = z.data_ptr<T>(), *sum = out.data_ptr<T>();
    const T constant = static_cast<T>(half_log_two_pi);
    for (int64_t i = 0; i < rows; ++i) {
      T total = 0;
      for (int64_t k = 0; k < K; ++k) {
        T at = (a[i * K + k] - m[i * K + k]) * std::exp(-s[k]);
        to[i * K + k] = at;
        total -= T(0.5) * at * at + s[k] + constant;
      }
      sum[i] = total;
    }
  }
  template <class T>
  static void backward_rows(const Tensor& z, const Tensor& log_std, const Tensor& dy, Tensor& dmean, Tensor& dstd) {
    const int64_t rows = z.size(0), K = z.size(1);
    const T *at = z.const_data_ptr<T>(), *s = log_std.const_data_ptr<T>(), *d = dy.const_data_ptr<T>();
    T *to = dmean.data_ptr<T>(), *sum = dstd.data_ptr<T>();
    for (int64_t i = 0; i < rows; ++i)
      for (int64_t k = 0; k < K; ++k) {
        T x = at[i * K + k];
        to[i * K + k] = d[i] * x * std::exp(-s[k]);
        sum[k] += d[i] * (x * x - 1);
      }
  }
  static Variable forward(AutogradContext* context, const Variable& mean, const Variable& log_std,
                          const Tensor& action) {
    Tensor z = at::empty(mean.sizes(), action.options()), out = at::empty({mean.size(0)}, action.options());
    AT_DISPATCH_FLOATING_TYPES(z.scalar_type(), "normal_logp",
                               [&] { forward_rows<scalar_t>(mean, log_std, action, z, out); });
    context->save_for_backward({z, log_std});
    return out;
  }
  static variable_list backward(AutogradContext* context, variable_list gradients) {
    auto kept = context->get_saved_variables();
    Tensor dy = gradients[0].contiguous(), dmean = at::empty_like(kept[0]), dstd = at::zeros_like(kept[1]);
    AT_DISPATCH_FLOATING_TYPES(dy.scalar_type(), "normal_logp",
                               [&] { backward_rows<scalar_t>(kept[0], kept[1], dy, dmean, dstd); });
    return {dmean, dstd, Tensor()};
  }
};

}  // namespace

Tensor clipped_surrogate(const Tensor& ratio, const Tensor& advantage, double low, double high,
                         std::optional<double> most) {
  check("clipped_surrogate", ratio, advantage);
  Tensor r = ratio.contiguous(), a = advantage.contiguous();
  double bound = most.value_or(std::numeric_limits<double>::infinity());
  return elementwise(r, [&](auto type) {
    using T = decltype(type);
    const T *at = r.const_data_ptr<T>(), *weight = a.const_data_ptr<T>();
    // The bounds as the column's numbers have them, so that a ratio that equals one is at it.
    T least = static_cast<T>(low), highest = static_cast<T>(high);
    return [=](int64_t i) { return surrogate_of(at[i], weight[i], least, highest, bound); };
  });
}

Tensor clipped_value_loss(const Tensor& value, const Tensor& returns, const Tensor& old_value,
                          std::optional<double> clip) {
  check("clipped_value_loss", value, returns), check("clipped_value_loss", value, old_value);
  Tensor v = value.contiguous(), r = returns.contiguous(), o = old_value.contiguous();
  double bound = clip.value_or(std::numeric_limits<double>::infinity());
  return elementwise(v, [&](auto type) {
    using T = decltype(type);
    const T *at = v.const_data_ptr<T>(), *target = r.const_data_ptr<T>(), *old = o.const_data_ptr<T>();
    return [=](int64_t i) { return value_loss_of(at[i], target[i], old[i], bound); };
  });
}

Tensor normal_logp(const Tensor& mean, const Tensor& log_std, const Tensor& action) {
  if (mean.dim() != 2 || mean.sizes() != action.sizes() || log_std.numel() != mean.size(1))
    run_failed("normal_logp", "mean and action must be [N, K] and log_std [K]; got ", mean.sizes(), ", ",
               action.sizes(), " and ", log_std.sizes());
  return NormalLogp::apply(mean.contiguous(), log_std.contiguous(), action.contiguous());
}

}  // namespace rft::ops
