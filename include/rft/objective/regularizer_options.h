#pragma once
/// Options of the terms that keep a policy-gradient objective exploring and near its reference.
#include <optional>
#include <string>

#include "rft/core/experience.h"
#include "rft/core/options.h"

namespace rft {

/// entropy_bonus = -entropy_weight (1/N) sum m H;  kl_penalty = kl_weight (1/N) sum m k, k the estimate of the KL
/// divergence to the reference that kl_estimator names; N = tokens of the whole optimizer batch. With kl_target
/// the weight moves after every optimizer step, kl_weight *= 1 + clip(kl / kl_target - 1, +-0.2) / kl_horizon (Ziegler
/// et al. 2019, arXiv:1909.08593), kl that step's metric, a mean over tokens; it is state. divergence =
/// divergence_weight (1/N) sum m D, D a divergence of the whole distributions from the reference's (DPH-RL, Li et al.
/// 2025, arXiv:2509.07430: a forward KL or Jensen-Shannon divergence keeps answers that a reverse KL lets go).
struct RegularizerOptions {
  double entropy_weight = 0;
  double kl_weight = 0;
  std::string kl_estimator = "k3";
  std::optional<double> kl_target;
  double kl_horizon = 40;
  double divergence_weight = 0;
  std::string divergence = "forward_kl";
  double divergence_mix = 0.5;

  void visit(OptionVisitor& v);
  /// The entropy, the reference and the divergence, each where its weight is not 0. Throws UserError where
  /// divergence_mix does not fit.
  Needs needs() const;
};

}  // namespace rft
