#pragma once
/// Generalised advantage estimation (Schulman et al. 2016, arXiv:1506.02438), as in TRL's PPOTrainer.
///
///   r_t = reward_t - kl_weight k_t  (a reward [B] stands at the row's last decision, one [B, T] as it is given)
///   d_t = r_t + gamma V_t+1 - V_t;  A_t = d_t + gamma lambda A_t+1;  returns_t = A_t + V_t
/// V = extra::old_value, 0 after the last decision; t + 1 is the row's next decision: what is masked in between (tool
/// output) is skipped. Where rows are cut off or hold several episodes (control), V_t+1 is extra::next_value and
/// nothing is carried over a decision that is extra::last. Where decisions last several steps (extra::duration n, a
/// chunk of actions) gamma is gamma^n, so that it stays the discount of one step: a semi-Markov process (Sutton et al.
/// 1999, doi:10.1016/S0004-3702(99)00052-1); lambda counts decisions. With correction v_trace (IMPALA, Espeholt et al.
/// 2018, arXiv:1802.01561), for rows that another policy made, u_t = e^(old_logp - logp), old_logp of the policy at the
/// start of the updates and logp of the one that acted:
///   e_t = min(u_t, rho_clip) d_t + gamma lambda min(u_t, trace_clip) e_t+1;  returns_t = V_t + e_t
///   A_t = min(u_t, rho_clip) (r_t + gamma returns_t+1 - V_t)
/// In all, reward_clip comes before the KL. Then, over all
/// decisions of the batch, whitening: (x - mean) / sqrt(var + 1e-8), var with n - 1; whiten_rewards keeps the mean of
/// r, whiten_advantages doesn't keep that of A. Writes advantage and extra::returns. A row with a NaN reward is left
/// out of the whitening; its advantage is 0 and its returns are V. advantage_clip comes last (AC-Flow, Fan et al. 2025,
/// arXiv:2510.18072, clips so), and returns are without it.
#include <optional>
#include <string>

#include "rft/credit/credit.h"
#include "rft/credit/reward_options.h"

namespace rft {

class Gae : public Credit {
 public:
  struct Options : RewardOptions {
    Options() { kl_weight = 0.05; }
    double gamma = 1;
    double lambda = 0.95;
    std::string correction = "none";
    double rho_clip = 1, trace_clip = 1;
    bool whiten_rewards = false;
    bool whiten_advantages = true;
    std::optional<double> advantage_clip;
    void visit(OptionVisitor& v);
  };
  /// Throws UserError where reward_clip is not [low, high].
  explicit Gae(Options options);
  Needs needs() const override;
  void assign(Experience& batch, Metrics& metrics) override;

 private:
  Options options_;
};

}  // namespace rft
