// What critics Q(s, a) say of single decisions: the part of MlpActor that off-policy objectives learn from.
#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

#include <numbers>

#include "policy/action_distribution.h"
#include "policy/draws.h"
#include "policy/q_critics.h"
#include "rft/core/error.h"
#include "rft/core/extra.h"
#include "rft/core/noise.h"
#include "rft/core/rng.h"
#include "rft/policy/mlp_actor.h"

namespace rft {
namespace {

/// Each use of a row's random numbers has a stream of its own.
enum CriticStream : uint64_t { kNow = 1, kNext = 2, kUniform = 3, kHere = 4, kThere = 5 };

/// A key for each of the N = B * T decisions.
std::vector<uint64_t> keys_of(const Experience& batch) {
  std::vector<uint64_t> out;
  for (uint64_t row : draw_keys(batch, 1))
    for (int64_t t = 0; t < batch.steps(); ++t) out.push_back(mix(row, static_cast<uint64_t>(t)));
  return out;
}

/// [rows of x times count, ...]: every row `count` times.
Tensor repeated(const Tensor& x, int64_t count) { return x.repeat_interleave(count, 0); }

}  // namespace

/// Scaled actions [N * 3 count, K], a decision's together: uniform ones, then the policy's at `observation`, then at
/// `next`. `logp` [N, 3 count]: their log-densities. Without gradients.
Tensor MlpActor::other_actions(const Tensor& observation, const Tensor& next, const std::vector<uint64_t>& keys,
                               int64_t count, Tensor& logp) const {
  at::NoGradGuard no_grad;
  int64_t N = observation.size(0), K = world().action.size();
  // Uniform on [-1, 1]: by the normal distribution's own function of normal numbers.
  Tensor uniform = standard_normal(keys, {count, K}, kUniform).div(std::numbers::sqrt2).erf();
  auto drawn = [&](const Tensor& where, uint64_t stream) {
    Tensor noise = standard_normal(keys, {count, K}, stream).view({N * count, K});
    return distribution_->reparametrised(repeated(output_of(actor_, where), count), noise);
  };
  auto [here, here_logp] = drawn(observation, kHere);
  auto [there, there_logp] = drawn(next, kThere);
  Tensor uniform_logp = at::full({N, count}, -static_cast<double>(K) * std::numbers::ln2, at::kFloat);
  logp = at::cat({uniform_logp, here_logp.view({N, count}), there_logp.view({N, count})}, 1);
  return at::cat({uniform, here.view({N, count, K}), there.view({N, count, K})}, 1).view({N * 3 * count, K});
}

void MlpActor::estimate(const Experience& batch, const Needs& needs, Evaluation& out) const {
  if (!q_) run_failed("policy", "there are no critics Q: the policy entered its world without them");
  using Weights = QCritics::Weights;
  const QNeeds& q = *needs.q;
  int64_t B = batch.rows(), T = batch.steps(), N = B * T, K = world().action.size();
  Tensor observation = batch.context.tensor(extra::observation).flatten(0, 1);
  Tensor action = batch.action.flatten(0, 1), told = distribution_->scaled(action), next;
  if (q.next || q.next_value || q.samples) next = batch.extra.tensor(extra::next_observation).flatten(0, 1);
  std::vector<uint64_t> keys = q.next || q.own || q.samples ? keys_of(batch) : std::vector<uint64_t>();
  auto noise = [&](uint64_t stream) { return standard_normal(keys, {K}, stream); };
  auto set = [&](const char* name, const Tensor& x) {  // [N, ...] -> [B, T, ...]
    auto shape = x.sizes().vec();
    shape[0] = T, shape.insert(shape.begin(), B);
    out.extra.set(name, x.view(shape));
  };

  set(extra::q, (*q_)(observation, told, Weights::trained));
  if (q.behaviour || q.own) {
    Tensor output = output_of(actor_, observation);
    if (q.behaviour) out.logp = distribution_->logp(output, action).view({B, T});
    if (q.own) {
      bool still = q.slow_policy;  // a deterministic policy is judged by what it means to do
      auto [own, logp] = still ? std::pair(distribution_->middle(output), at::zeros({N}))
                               : distribution_->reparametrised(output, noise(kNow));
      set(extra::actor_q, (*q_)(observation, own, Weights::fixed)), set(extra::actor_logp, logp);
    }
  }
  if (needs.value) out.value = critic_(observation).view({B, T});
  if (q.samples) {
    Tensor logp, others = other_actions(observation, next, keys, q.samples, logp);
    Tensor judged = (*q_)(repeated(observation, 3 * q.samples), others, Weights::trained);
    set(extra::sampled_q, judged.view({N, 3 * q.samples, q.critics}).transpose(1, 2).contiguous());
    set(extra::sampled_logp, logp);
  }
  at::NoGradGuard no_grad;
  if (q.slow) set(extra::target_q, (*q_)(observation, told, Weights::slow));
  if (q.next_value) set(extra::next_value, critic_(next).squeeze(1));
  if (!q.next) return;
  if (q.slow_policy) {
    Tensor blur = noise(kNext).mul(q.target_noise).clamp(-q.target_noise_clip, q.target_noise_clip);
    Tensor after = distribution_->middle(output_of(slow_actor_, next)).add(blur).clamp(-1, 1);
    set(extra::next_q, (*q_)(next, after, Weights::slow)), set(extra::next_logp, at::zeros({N}));
  } else {
    auto [after, logp] = distribution_->reparametrised(output_of(actor_, next), noise(kNext));
    set(extra::next_q, (*q_)(next, after, Weights::slow)), set(extra::next_logp, logp);
  }
}

}  // namespace rft
