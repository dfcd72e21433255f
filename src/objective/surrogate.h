#pragma once
/// The per-token policy losses of GRPO's kin, and how they are added up.
#include "objective/columns.h"
#include "rft/objective/grpo.h"

namespace rft::objective {

/// Importance ratios of one micro-batch.
struct Ratios {
  Tensor log;      ///< [B, T] logp - old_logp, with gradient
  Tensor ratio;    ///< [B, T], or [B, 1] where ratio_level is sequence
  Tensor sampler;  ///< [B, T] or [B, 1] policy at the start of the updates / policy that acted; undefined without
                   ///< correction
};
Ratios ratios(const Columns& c, const Grpo::Options& options);
/// approx_kl: the mean over the tokens of ratio - 1 - log ratio, Schulman's k3 estimate of KL(acted || now), nats.
void add_approx_kl(MetricSums& metrics, const Columns& c, const Ratios& r);

/// [B, T]: the variant's loss of each token; its metrics are added to `metrics`.
Tensor token_loss(const Columns& c, const Ratios& r, const Grpo::Options& options, MetricSums& metrics);

/// [B, T]: PPO's loss of each token, whose ratio is clipped to bounds of its own, low and high [B, T]. `most` is dual
/// clip.
Tensor clipped_between(const Columns& c, const Tensor& ratio, const Tensor& low, const Tensor& high,
                       std::optional<double> most, MetricSums& metrics);

/// [B, 1] or [B, T] bool: false for rows of negative advantage whose mean log(sampler / now) exceeds `threshold`
/// (DeepSeek-V3.2's off-policy sequence masking, arXiv:2512.02556).
Tensor on_policy(const Columns& c, double threshold);

/// [B, T]: what token hidden rewards weigh each token by; the metrics thr/kept and thr/positive.
Tensor hidden_reward_weight(const Columns& c, const Experience& batch, const Grpo::Options& options,
                            MetricSums& metrics);

/// The scalar share of the loss; `tokens` is N of the whole batch.
Tensor reduce(const Tensor& loss, const Columns& c, const Grpo::Options& options, double rows, double tokens);

/// clip_ratio/{low,high,region}_mean of `ratio` outside [low, high] against the advantage's sign.
void add_clip_metrics(MetricSums& metrics, const Tensor& ratio, double low, double high, const Columns& c, bool by_row);
/// The same where each token has bounds of its own.
void add_clip_metrics(MetricSums& metrics, const Tensor& ratio, const Tensor& low, const Tensor& high, const Columns& c,
                      bool by_row);

}  // namespace rft::objective
