#include "diffusion/flow_sde.h"

#include <ATen/ATen.h>

#include <cmath>
#include <limits>
#include <numbers>

#include "rft/core/error.h"
#include "rft/core/text.h"

namespace rft {
namespace {

/// Liu et al. 2025 (arXiv:2505.05470), equation 12: diffusion s = eta sqrt(sigma / (1 - sigma)), with the drift that
/// keeps the flow's marginals.
Transition flow_grpo(double eta, const FlowStep& step, const Tensor& velocity, const Tensor& x) {
  double dt = step.to - step.from, s = eta * std::sqrt(step.from / (1 - (step.from == 1 ? step.below_one : step.from)));
  double pull = s * s / (2 * step.from);
  Tensor mean = x.mul(1 + pull * dt).add(velocity.mul((1 + pull * (1 - step.from)) * dt));
  return {mean, s * std::sqrt(-dt), x.sub(velocity.mul(step.from))};
}

/// Xue et al. 2025 (arXiv:2505.07818), equation 8: constant diffusion eta; the score of x is -(x - (1 - sigma) clean) /
/// sigma^2.
Transition dance(double eta, const FlowStep& step, const Tensor& velocity, const Tensor& x) {
  double dt = step.to - step.from;
  Tensor clean = x.sub(velocity.mul(step.from));
  Tensor score = x.sub(clean.mul(1 - step.from)).div(-step.from * step.from);
  return {x.add(velocity.mul(dt)).sub(score.mul(0.5 * eta * eta * dt)), eta * std::sqrt(-dt), clean};
}

/// arXiv:2509.05952: the noise of the next level is part what the model sees in x, part new, their squares adding up.
Transition cps(double eta, const FlowStep& step, const Tensor& velocity, const Tensor& x) {
  double angle = eta * std::numbers::pi / 2, old = eta == 1 ? 0 : step.to * std::cos(angle);
  Tensor clean = x.sub(velocity.mul(step.from)), noise = x.add(velocity.mul(1 - step.from));
  return {clean.mul(1 - step.to).add(noise.mul(old)), step.to * std::sin(angle), clean};
}

}  // namespace

const std::vector<std::string>& flow_sde_names() {
  static const std::vector<std::string> names = {"flow_grpo", "dance", "cps"};
  return names;
}

Transition flow_sde_step(const std::string& sde, double eta, const FlowStep& step, const Tensor& velocity,
                         const Tensor& x) {
  double most = sde == "cps" ? 1 : std::numeric_limits<double>::infinity();
  if (!(eta >= 0 && eta <= most))
    bad_input("eta", sde, "'s is ", sde == "cps" ? "from 0 to 1" : "0 or more", "; got ", eta);
  if (sde == "flow_grpo") return flow_grpo(eta, step, velocity, x);
  if (sde == "dance") return dance(eta, step, velocity, x);
  if (sde == "cps") return cps(eta, step, velocity, x);
  bad_input("sde", "there is no stochastic step '", sde, "'", suggestion(sde, flow_sde_names()));
}

}  // namespace rft
