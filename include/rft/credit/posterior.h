#pragma once
/// Pseudo-rewards that draw the policy to the posterior p(y) = p_ref(y) e^(r(y) / beta) / Z, by an f-divergence (f-DPG,
/// Go et al. 2023, arXiv:2302.08215; the KL form is GDC's, Khalifa et al. 2021, arXiv:2012.11635).
///
/// Of a row that the policy pi sampled, t = pi / p, x = log t = sum_t (logp - ref_logp) - r / beta + log Z:
///   forward_kl    A = 1 / t              KL(p || pi): covers all that p has
///   reverse_kl    A = -(1 + x)           KL(pi || p): what a KL penalty does
///   jensen_shannon  A = log((1 + 1/t) / 2)
///   total_variation  A = -sign(x) / 2
/// less, with `baseline`, the group's mean of it. With objective `reinforce` this is the gradient of the divergence,
/// and its optimum is the posterior. Z = the mean over the group of e^(r / beta - sum_t (logp - ref_logp)), which takes
/// groups large enough to know it; max_ratio bounds 1 / t. NaN rewards are left out and get A = 0. The same advantage
/// stands at every decision of a row.
#include <string>

#include "rft/core/options.h"
#include "rft/credit/credit.h"

namespace rft {

class Posterior : public Credit {
 public:
  struct Options {
    double beta = 1;
    std::string divergence = "reverse_kl";
    bool baseline = true;
    double max_ratio = 100;
    void visit(OptionVisitor& v);
  };
  explicit Posterior(Options options) : options_(std::move(options)) {}
  Needs needs() const override;
  void assign(Experience& batch, Metrics& metrics) override;

 private:
  Options options_;
};

}  // namespace rft
