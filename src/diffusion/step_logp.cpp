#include <ATen/ATen.h>

#include <cmath>

#include "rft/core/error.h"
#include "rft/core/noise.h"
#include "rft/diffusion/scheduler.h"

namespace rft {

Tensor draw_next(const Transition& transition, const Tensor& z) {
  if (transition.std == 0) return transition.mean;
  Tensor noise = z.to(transition.mean.scalar_type());
  if (transition.stds.defined()) return transition.mean.add(noise.mul(transition.stds));
  return transition.mean.add(noise.mul(transition.std));
}

Tensor step_logp(const Transition& transition, const Tensor& next, bool mean_over_dimensions) {
  if (!(transition.std > 0)) run_failed("step_logp", "a deterministic step has no log-probability");
  auto wide = at::promote_types(transition.mean.scalar_type(), at::kFloat);
  Tensor off = next.to(wide).sub(transition.mean.to(wide)), density;
  if (transition.stds.defined()) {
    Tensor stds = transition.stds.to(wide);
    density = off.div(stds).square().mul(-0.5).sub(stds.log());
  } else {
    density = off.div(transition.std).square().mul(-0.5).sub(std::log(transition.std));
  }
  density = density.sub(half_log_two_pi).flatten(1);
  return mean_over_dimensions ? density.mean(1) : density.sum(1);
}

Tensor step_kl(const Transition& step, const Transition& other, bool mean_over_dimensions) {
  if (!(step.std > 0)) run_failed("step_kl", "a deterministic step has no divergence from another");
  auto wide = at::promote_types(step.mean.scalar_type(), at::kFloat);
  Tensor off = step.mean.to(wide).sub(other.mean.to(wide)), each;
  if (step.stds.defined()) {
    Tensor ratio = step.stds.to(wide).div(other.stds.to(wide));
    each = ratio.square().add(off.div(other.stds.to(wide)).square()).sub(1).mul(0.5).sub(ratio.log());
  } else {
    each = off.div(step.std).square().mul(0.5);
  }
  return mean_over_dimensions ? each.flatten(1).mean(1) : each.flatten(1).sum(1);
}

}  // namespace rft
